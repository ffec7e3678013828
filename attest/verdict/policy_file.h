/*
 * policy_file.h: what somebody expects of a machine, as a file (VERDICT.md, "Policy file"). Parsed
 * only: the files that it names are for the caller to read. Pure. Threads: any.
 */
#ifndef SEALEDFS_VERDICT_POLICY_FILE_H
#define SEALEDFS_VERDICT_POLICY_FILE_H

#include "attest/verdict/verdict.h"

#include <jansson.h>

#define POLICY_FILE_SIZE_MAX ((size_t)1 << 20)
#define POLICY_FILE_LIST_MAX 1024 /* entries of each list */

struct text_list {
	const char **items;
	size_t count;
};

/* Texts belong to the object. Members that the file does not have are zero. */
struct policy_file {
	json_t *json;
	const char *root; /* path */
	bool has_max_age;
	uint64_t max_age_s;
	struct verdict_boot *boot;
	size_t boot_count;
	struct text_list measurements, models, owner_keys; /* as the options of sealctl verify */
	bool has_pcr;
	unsigned pcr;	/* 0 to 15 */
	unsigned modes; /* bits */
	bool has_debug, debug;
};

/* name: for messages. -EINVAL: not of this form; it names the member. -EFBIG, -ENOMEM. */
int policy_file_parse(const void *json, size_t size, const char *name, struct policy_file *ret,
		      struct error *err);
void policy_file_clear(struct policy_file *p);

#define _cleanup_policy_file_ _cleanup_(policy_file_clear)

#endif
