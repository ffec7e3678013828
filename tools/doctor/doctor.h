/*
 * doctor.h: what may keep a mount from working, or plaintext from staying secret, found before it
 * does.
 *
 * A group is one file with a function; it looks at its part of the machine and adds what it finds,
 * what is worth knowing, and what it could not look at. The table in findings.c says of each
 * finding why it matters and how to mend it. Nothing is changed anywhere. Threads: one.
 */
#ifndef SEALEDFS_TOOLS_DOCTOR_H
#define SEALEDFS_TOOLS_DOCTOR_H

#include "fs/config/config.h"
#include "tools/common/cli.h"
#include "tools/doctor/findings.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#define DOCTOR_FILE_MAX ((size_t)256 << 10)

struct doctor {
	struct cli *cli;
	int root;	   /* "/", or the tree of an image */
	bool live;	   /* this machine: its TPM, network and processes can be asked, too */
	bool attestable;   /* nobody may be able to log in */
	bool has_config;   /* config says what to mount */
	bool from_file;	   /* as a service does it: /etc/sealedfs/NAME.conf */
	const char *label; /* of the configuration */
	struct config config;
	const char *group;	   /* that is being looked at */
	const char *const *search; /* folders in which plaintext copies are looked for */
	size_t search_count;
	bool clock_told; /* once is enough */
	json_t *findings, *facts, *unseen;
	size_t count; /* of findings */
};

/* Without memory the text is NULL, and doctor_examine() fails. */
#define doctor_say(add, ...)                           \
	do {                                           \
		_cleanup_free_ char *_text = NULL;     \
		if (asprintf(&_text, __VA_ARGS__) < 0) \
			_text = NULL;                  \
		add;                                   \
	} while (0)
/* As fprintf(); outside text may be in the arguments. */
#define doctor_find(d, what, ...) doctor_say(doctor_add_find(d, what, _text), __VA_ARGS__)
/* Something that is as it should be, but worth knowing. */
#define doctor_note(d, ...) doctor_say(doctor_add_note(d, _text), __VA_ARGS__)
/* What could not be looked at, and why. */
#define doctor_skip(d, ...) doctor_say(doctor_add_skip(d, _text), __VA_ARGS__)
void doctor_add_find(struct doctor *d, enum finding what, const char *text);
void doctor_add_note(struct doctor *d, const char *text);
void doctor_add_skip(struct doctor *d, const char *text);

/* A file of the machine or tree; symbolic links do not lead out of the tree. -errno. */
int doctor_open(const struct doctor *d, const char *path, int flags);
/* Its text, with a NUL; cut at size. The length, or -errno. */
ssize_t doctor_read(const struct doctor *d, const char *path, char *out, size_t size);
/* 0 or -errno; follows symbolic links. */
int doctor_stat(const struct doctor *d, const char *path, struct stat *ret);
bool doctor_exists(const struct doctor *d, const char *path);
/* Calls each() with each name in the folder, sorted by nobody. */
void doctor_list(const struct doctor *d, const char *path,
		 void (*each)(void *arg, const char *folder, const char *name), void *arg);
/* The next line of a text, without blanks around it; NULL at the end. */
char *doctor_line(char **text);

/* A unit of systemd by its name: it exists in the tree, and is not masked. */
bool doctor_unit(const struct doctor *d, const char *name);

void doctor_look_fuse(struct doctor *d);
void doctor_look_memory(struct doctor *d);
void doctor_look_aws(struct doctor *d);
void doctor_look_policy(struct doctor *d);
void doctor_look_bundle(struct doctor *d);
void doctor_look_ollama(struct doctor *d);
void doctor_look_tpm(struct doctor *d);
void doctor_look_image(struct doctor *d);

/* The process's AWS configuration, with the mount's options. Errors as cli_aws(). */
int doctor_open_aws(struct doctor *d, struct aws **ret, struct error *err);
/* Reads files as long as a model. -EINTR after Ctrl-C. */
int doctor_look_copies(struct doctor *d, struct error *err);

/* Looks at everything. The caller clears d->findings, d->facts and d->unseen. -ENOMEM. */
int doctor_examine(struct doctor *d, struct error *err);
/* Prints what was found. */
int doctor_report(struct doctor *d);

#endif
