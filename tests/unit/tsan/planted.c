/*
 * A data race, planted: proves that a build with ThreadSanitizer sees one, under the options and
 * suppressions that the suites run with. Built with -Db_sanitize=thread only.
 */
#include <pthread.h>
#include <stdio.h>

#define ROUNDS 100000

static unsigned long counter;

static void *count(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		counter++;
	return arg;
}

int main(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, count, NULL) != 0)
		return 1;
	count(NULL);
	pthread_join(other, NULL);
	printf("%lu of %d\n", counter, 2 * ROUNDS);
	return 0;
}
