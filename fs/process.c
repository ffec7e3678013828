/*
 * Facts from /proc about a reader. Job: a hint, never a permission: the numbers there belong to
 * whoever has that thread id at this moment.
 */
#include "fs/process.h"

#include "crypto/base/cleanup.h"

#include <signal.h>
#include <string.h>

#define FIELD "SigPnd:"

bool process_is_dying(pid_t tid)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, FIELD, strlen(FIELD)) == 0)
			return strtoull(line + strlen(FIELD), NULL, 16) >> (SIGKILL - 1) & 1;
	return false;
}
