/*
 * Recognising a TPM. Job: remember the name of a TPM's storage key, and refuse another one. Trusts
 * files of root and of its own user that nobody else can write. Must never replace a name that was
 * remembered.
 */
#include "attest/tpm_pin.h"

#include "attest/runtime_dir.h"
#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define ANCHOR_PATH "/run/systemd/tpm2-srk-public-key.tpm2b_public"
#define ANCHOR_MAX 1024
#define MACHINE_DIR "/run/sealedfs"
#define NAME_HEX 64
#define DEVICE "device:/dev/"

/* TPMT_PUBLIC up to the unique field for an ECC P-256 storage key (TPM 2.0 Part 2, 12.2.4). */
static const uint8_t srk_start[] = {
	0x00, 0x23,			    /* ECC */
	0x00, 0x0b,			    /* SHA-256 */
	0x00, 0x03, 0x04, 0x72, 0x00, 0x00, /* attributes, no policy */
	0x00, 0x06, 0x00, 0x80, 0x00, 0x43, /* AES-128-CFB */
	0x00, 0x10, 0x00, 0x03, 0x00, 0x10, /* no scheme, P-256, no KDF */
};

struct pin {
	struct pin *next;
	uint32_t tpm;
	struct tpm_key_name name;
};

static pthread_mutex_t pins_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pin *pins; /* of this process, until it ends */

static bool is_device(const char *conf)
{
	return strncmp(conf, DEVICE, strlen(DEVICE)) == 0;
}

/* /dev/tpm0 and /dev/tpmrm0 are one TPM. */
static uint32_t tpm_number(const char *conf)
{
	uint8_t hash[32] = {0};
	char plain[256];

	if (strncmp(conf, DEVICE "tpmrm", strlen(DEVICE "tpmrm")) == 0 &&
	    snprintf(plain, sizeof(plain), DEVICE "tpm%s", conf + strlen(DEVICE "tpmrm")) > 0)
		conf = plain;
	(void)digest_buffer(DIGEST_SHA256, conf, strlen(conf), hash);
	return (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
}

static int refuse(const char *conf, const char *where, struct error *err)
{
	error_set(err, -EKEYREJECTED,
		  "the TPM at %s has another storage key than the one that answered before (%s)",
		  conf, where);
	error_hint(err, "something between this program and the TPM answers in its place, or the "
			"TPM was cleared since boot; if you cleared it, reboot");
	return -EKEYREJECTED;
}

static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* 0, -ENOENT, or what is wrong with it. */
static int read_pin(const char *path, struct tpm_key_name *ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	char text[NAME_HEX + 2] = {0};

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	if (!is_ours(fd)) {
		error_set(err, -EPERM, "%s is not a plain file that only its owner can write",
			  path);
		error_hint(err, "find out who created it: it identifies the TPM");
		return -EPERM;
	}
	if (file_read(fd, text, sizeof(text)) != NAME_HEX + 1 || text[NAME_HEX] != '\n')
		return error_set(err, -EPROTO, "%s is damaged", path);
	text[NAME_HEX] = '\0';
	if (hex_decode(text, ret->sha256, sizeof(ret->sha256)) < 0)
		return error_set(err, -EPROTO, "%s is damaged", path);
	return 0;
}

/* Whole or not at all, and never over another one. 0, -EEXIST, -errno. */
static int write_pin(const char *path, const struct tpm_key_name *name)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *new = NULL;
	char text[NAME_HEX + 2];
	int r;

	if (asprintf(&new, "%s.%d", path, (int)gettid()) < 0)
		return -ENOMEM;
	hex_encode(name->sha256, sizeof(name->sha256), text);
	text[NAME_HEX] = '\n';
	(void)unlink(new);
	fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	r = file_write(fd, text, NAME_HEX + 1);
	if (r == 0 && (fchmod(fd, 0644) < 0 || linkat(AT_FDCWD, new, AT_FDCWD, path, 0) < 0))
		r = -errno;
	(void)unlink(new);
	return r;
}

/* If the runtime directory cannot be used, the pin is kept in memory only. */
static int check_file(const char *conf, uint32_t tpm, const struct tpm_key_name *name,
		      struct error *err)
{
	_cleanup_free_ char *path = NULL;
	struct tpm_key_name first;
	int r;

	/* The machine's own directory is for the machine's own TPM. */
	if (!is_device(conf) && strcmp(runtime_dir(), MACHINE_DIR) == 0)
		return 0;
	if (asprintf(&path, "%s/tpm-key-%08x", runtime_dir(), tpm) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (runtime_parent_make(path, NULL) < 0)
		return 0;
	r = read_pin(path, &first, err);
	if (r == -ENOENT) {
		r = write_pin(path, name);
		if (r == 0)
			return 0;
		if (r != -EEXIST) {
			log_debug("%s cannot be written: %s", path, strerror(-r));
			return 0;
		}
		r = read_pin(path, &first, err);
	}
	if (r < 0)
		return r;
	return memcmp(&first, name, sizeof(first)) == 0 ? 0 : refuse(conf, path, err);
}

static struct pin *find_pin(uint32_t tpm)
{
	struct pin *p = pins;

	while (p && p->tpm != tpm)
		p = p->next;
	return p;
}

int tpm_pin_check(const char *conf, const struct tpm_key_name *name, struct error *err)
{
	uint32_t tpm = tpm_number(conf);
	struct pin *p;
	int r = 0;

	pthread_mutex_lock(&pins_lock);
	p = find_pin(tpm);
	if (p && memcmp(&p->name, name, sizeof(*name)) != 0)
		r = refuse(conf, "in this process", err);
	if (r == 0)
		r = check_file(conf, tpm, name, err);
	if (r == 0 && !p) {
		p = calloc(1, sizeof(*p));
		if (p) {
			*p = (struct pin){.next = pins, .tpm = tpm, .name = *name};
			pins = p;
		} else {
			r = error_set(err, -ENOMEM, "out of memory");
		}
	}
	pthread_mutex_unlock(&pins_lock);
	return r;
}

/* The name of the key that systemd recorded. 0, or -ENOENT: none, or none of our template. */
static int read_anchor(struct tpm_key_name *ret)
{
	_cleanup_close_ int fd = open(ANCHOR_PATH, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	uint8_t bytes[ANCHOR_MAX];
	struct cursor c;
	ssize_t n;
	size_t size;

	if (fd < 0 || !is_ours(fd))
		return -ENOENT;
	n = file_read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return -ENOENT;
	c = cursor_init(bytes, (size_t)n);
	size = cursor_be16(&c);
	if (c.failed || size != cursor_left(&c) || size < sizeof(srk_start) ||
	    memcmp(bytes + c.pos, srk_start, sizeof(srk_start)) != 0) {
		log_debug("%s holds no ECC P-256 storage key of the usual template", ANCHOR_PATH);
		return -ENOENT;
	}
	return digest_buffer(DIGEST_SHA256, bytes + c.pos, size, ret->sha256) < 0 ? -ENOENT : 0;
}

int tpm_anchor_check(const char *conf, const struct tpm_key_name *name)
{
	struct tpm_key_name anchor;

	if (!is_device(conf) || read_anchor(&anchor) < 0)
		return 0;
	return memcmp(&anchor, name, sizeof(anchor)) == 0 ? 0 : -EKEYREJECTED;
}

int tpm_anchor_refuse(const char *conf, struct error *err)
{
	return refuse(conf, ANCHOR_PATH, err);
}
