/*
 * Facts from /proc about a reader. Use them as hints, never for permissions: the thread id may have
 * been reused.
 */
#include "fs/models/process.h"

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* A field of /proc/TID/status, a number in this base; `otherwise` if it is unknown. */
static unsigned long long status_field(pid_t tid, const char *name, int base,
				       unsigned long long otherwise)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			return strtoull(line + strlen(name), NULL, base);
	return otherwise;
}

bool process_is_dying(pid_t tid)
{
	return status_field(tid, "SigPnd:", 16, 0) >> (SIGKILL - 1) & 1;
}

pid_t process_of_thread(pid_t tid)
{
	return (pid_t)status_field(tid, "Tgid:", 10, (unsigned long long)tid);
}

bool process_is_there(pid_t pid)
{
	return pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH;
}
