/*
 * null_fuse: the control "a FUSE server that copies from memory and does nothing else". One file,
 * loaded whole before the mount; READ is answered straight from memory. What a reader gets here is
 * what FUSE itself allows on this machine, so a candidate's distance from it is its own cost.
 *
 *   null_fuse [OPTION…] FILE MOUNTPOINT       stays in the foreground until unmounted
 *
 * Trusts its command line. It must never get faster or slower by anything but how it answers READ:
 * the defaults of its mount and session are what fs/fuse/session.c and fs/fuse/names.c use.
 */
#define FUSE_USE_VERSION 312

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_INODE 2
#define CACHE_S 86400.0

DEFINE_CLEANUP(struct fuse_session *, fuse_session_destroy)
DEFINE_CLEANUP(struct fuse_loop_config *, fuse_loop_cfg_destroy)

struct served {
	const char *name;
	const char *data;
	size_t size;
	int fd; /* the same bytes, for splice */
	bool splice;
	unsigned max_background, max_read;
	struct stat st;
};

struct options {
	unsigned threads;
	bool clone_fd;
	const char *reply;
};

static struct served *served_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void set_stat(const struct served *f, fuse_ino_t ino, struct stat *st)
{
	*st = f->st;
	st->st_ino = ino;
	st->st_blksize = 4096;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		st->st_size = 0;
	} else {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
	}
}

static void null_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct served *f = userdata;

	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_SPLICE_READ);
	if (f->splice)
		conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_background = f->max_background;
	conn->congestion_threshold = f->max_background * 3 / 4;
	conn->max_read = f->max_read;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct served *f = served_of(req);
	struct fuse_entry_param e = {
		.ino = FILE_INODE, .attr_timeout = CACHE_S, .entry_timeout = CACHE_S};

	if (parent != FUSE_ROOT_ID || strcmp(name, f->name) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	set_stat(f, FILE_INODE, &e.attr);
	fuse_reply_entry(req, &e);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	set_stat(served_of(req), ino, &st);
	fuse_reply_attr(req, &st, CACHE_S);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino != FILE_INODE) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	const struct served *f = served_of(req);
	size_t start = MIN((size_t)offset, f->size);
	size_t count = MIN(size, f->size - start);
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(count);

	if (!f->splice) {
		fuse_reply_buf(req, f->data + start, count);
		return;
	}
	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = f->fd;
	v.buf[0].pos = (off_t)start;
	fuse_reply_data(req, &v, FUSE_BUF_SPLICE_MOVE);
}

static void null_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			 struct fuse_file_info *fi)
{
	const struct served *f = served_of(req);
	const char *names[] = {".", "..", f->name};
	char buf[1024];
	size_t used = 0;

	for (size_t i = (size_t)offset; i < ARRAY_LEN(names); i++) {
		size_t room = MIN(size, sizeof(buf)) - used, need;
		struct stat st;

		set_stat(f, i == 2 ? FILE_INODE : FUSE_ROOT_ID, &st);
		need = fuse_add_direntry(req, buf + used, room, names[i], &st, (off_t)i + 1);
		if (need > room)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static const struct fuse_lowlevel_ops null_ops = {
	.init = null_init,
	.lookup = null_lookup,
	.getattr = null_getattr,
	.open = null_open,
	.read = null_read,
	.readdir = null_readdir,
};

/* The file's bytes in small pages, all present before the first request. */
static int load(const char *path, struct served *f)
{
	_cleanup_(closep) int from = open(path, O_RDONLY | O_CLOEXEC);
	char *data;
	size_t done = 0;

	if (from < 0 || fstat(from, &f->st) < 0)
		return -errno;
	f->size = (size_t)f->st.st_size;
	f->fd = memfd_create("null_fuse", MFD_CLOEXEC);
	if (f->fd < 0 || ftruncate(f->fd, f->st.st_size) < 0)
		return -errno;
	data = mmap(NULL, MAX(f->size, 1UL), PROT_READ | PROT_WRITE,
		    f->splice ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, f->splice ? f->fd : -1,
		    0);
	if (data == MAP_FAILED)
		return -errno;
	madvise(data, f->size, MADV_NOHUGEPAGE);
	while (done < f->size) {
		ssize_t n = read(from, data + done, MIN(f->size - done, (size_t)1 << 20));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	f->data = data;
	return 0;
}

static int serve(struct served *f, const struct options *o, const char *mountpoint)
{
	char name[] = "null_fuse", dash_o[] = "-o", mount_options[128];
	char *argv[] = {name, dash_o, mount_options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	_cleanup_(fuse_session_destroyp) struct fuse_session *se = NULL;
	_cleanup_(fuse_loop_cfg_destroyp) struct fuse_loop_config *loop = fuse_loop_cfg_create();
	int r;

	snprintf(mount_options, sizeof(mount_options),
		 "ro,nodev,nosuid,default_permissions,fsname=null_fuse,subtype=null_fuse");
	if (f->max_read > 0) {
		size_t used = strlen(mount_options);

		snprintf(mount_options + used, sizeof(mount_options) - used, ",max_read=%u",
			 f->max_read);
	}
	se = fuse_session_new(&args, &null_ops, sizeof(null_ops), f);
	fuse_opt_free_args(&args);
	if (!se || !loop || fuse_set_signal_handlers(se) < 0)
		return -EINVAL;
	if (fuse_session_mount(se, mountpoint) < 0)
		return -EIO;
	fuse_loop_cfg_set_clone_fd(loop, o->clone_fd);
	fuse_loop_cfg_set_max_threads(loop, o->threads);
	fuse_loop_cfg_set_idle_threads(loop, o->threads);
	r = o->threads > 1 ? fuse_session_loop_mt(se, loop) : fuse_session_loop(se);
	fuse_session_unmount(se);
	fuse_remove_signal_handlers(se);
	return r < 0 ? r : 0;
}

static int usage(void)
{
	fputs("usage: null_fuse [--reply buf|splice] [--threads N] [--clone-fd] [--max-read BYTES]\n"
	      "                 [--max-background N] FILE MOUNTPOINT\n",
	      stderr);
	return 2;
}

static bool parse_number(const char *text, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v == 0 || v > 1UL << 30)
		return false;
	*ret = (unsigned)v;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"reply", required_argument, NULL, 'r'},
					      {"threads", required_argument, NULL, 't'},
					      {"clone-fd", no_argument, NULL, 'c'},
					      {"max-read", required_argument, NULL, 'm'},
					      {"max-background", required_argument, NULL, 'b'},
					      {0}};
	struct options o = {.threads = 32, .reply = "buf"};
	struct served f = {.fd = -1, .max_background = 64};
	bool good = true;
	int c, r;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'r')
			o.reply = optarg;
		else if (c == 'c')
			o.clone_fd = true;
		else if (c == 't')
			good &= parse_number(optarg, &o.threads);
		else if (c == 'm')
			good &= parse_number(optarg, &f.max_read);
		else if (c == 'b')
			good &= parse_number(optarg, &f.max_background);
		else
			good = false;
	}
	f.splice = strcmp(o.reply, "splice") == 0;
	if (!good || argc - optind != 2 || (!f.splice && strcmp(o.reply, "buf") != 0))
		return usage();
	f.name = basename(argv[optind]);
	r = load(argv[optind], &f);
	if (r == 0)
		r = serve(&f, &o, argv[optind + 1]);
	if (r < 0) {
		fprintf(stderr, "null_fuse: %s: %s\n", argv[optind], strerror(-r));
		return 1;
	}
	return 0;
}
