/* cpus.h: how many CPUs this process may use: 1 … PIPELINE_THREADS_MAX. */
#ifndef SEALEDFS_TOOLS_CPUS_H
#define SEALEDFS_TOOLS_CPUS_H

unsigned cpu_count(void);

#endif
