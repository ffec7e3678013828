/*
 * Worker threads. Job: run jobs, at most threads_max at once. Trusts the jobs to end. Signals
 * are blocked in the workers, so that only the main thread sees them.
 */
#include "crypto/base/pool.h"

#include "crypto/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>

struct job {
	struct job *next;
	void (*run)(void *arg);
	void *arg;
};

struct pool {
	unsigned threads_max;
	pthread_t *threads;

	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job *first, **last;
	unsigned thread_count, idle_count, queued;
	bool ending;
};

unsigned cpu_count(void)
{
	cpu_set_t set;

	/* More CPUs than fit the mask: their number is unknown. */
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 2;
}

int pool_new(unsigned threads_max, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->threads_max = MAX(threads_max, 1U);
	p->threads = calloc(p->threads_max, sizeof(*p->threads));
	if (!p->threads) {
		free(p);
		return -ENOMEM;
	}
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	*ret = p;
	return 0;
}

static void *worker(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct job *job;

		while (!p->first && !p->ending) {
			p->idle_count++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle_count--;
		}
		job = p->first;
		if (!job)
			break;
		p->first = job->next;
		p->queued--;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		job->run(job->arg);
		free(job);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_thread(struct pool *p, struct error *err)
{
	int r = thread_start(&p->threads[p->thread_count], worker, p, err);

	p->thread_count += r == 0;
	return r;
}

int pool_start(struct pool *p, struct error *err)
{
	int r = 0;

	pthread_mutex_lock(&p->lock);
	if (p->thread_count == 0)
		r = start_thread(p, err);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int pool_submit(struct pool *p, void (*run)(void *arg), void *arg)
{
	struct job *job = calloc(1, sizeof(*job));
	int r = 0;

	if (!job)
		return -ENOMEM;
	job->run = run;
	job->arg = arg;
	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->idle_count && p->thread_count < p->threads_max)
		r = start_thread(p, NULL);
	if (p->thread_count == 0) {
		pthread_mutex_unlock(&p->lock);
		free(job);
		return r;
	}
	*p->last = job;
	p->last = &job->next;
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}
