/*
 * JSON. Job: make sure that no value that jansson saw survives in freed memory. Trusts jansson's
 * parser. Must never parse before the wiping allocator is in place.
 */
#include "fs/net/json.h"

#include "crypto/base/secret.h"

#include <malloc.h>
#include <pthread.h>

static void free_wiped(void *p)
{
	if (p)
		wipe(p, malloc_usable_size(p));
	free(p);
}

/* Process-wide: every user of jansson in this process gets wiped memory. */
static void use_wiping_allocator(void)
{
	json_set_alloc_funcs(malloc, free_wiped);
}

json_t *json_object_parse(const void *data, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	json_t *value;

	pthread_once(&once, use_wiping_allocator);
	value = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
	if (value && !json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

const char *json_text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s && s[0] ? s : NULL;
}
