/* How many CPUs this process may use: its affinity mask, so that taskset and cpusets count. */
#include "tools/cpus.h"

#include "tools/pipeline.h"

#include <sched.h>

unsigned cpu_count(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return (unsigned)MAX(1, MIN(n, PIPELINE_THREADS_MAX));
}
