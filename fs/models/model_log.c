/*
 * Log messages about models that cannot be opened and about reads that fail. Job: limit how often
 * the same message is logged. Must never hold a lock while it logs.
 */
#include "fs/models/model_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <inttypes.h>

/* The interval at which failing reads of a model are logged. */
#define LOG_AGAIN_READ_MS 10000
/* A folder full of junk must not fill the log; sealctl status lists all of them. */
#define LOG_BROKEN_MAX 1000

bool model_may_log(struct model *m, int code, uint64_t again_ms)
{
	uint64_t now = monotonic_ms();
	bool may;

	pthread_mutex_lock(&m->lock);
	may = m->logged_code != code || now - m->logged_ms >= again_ms;
	if (may) {
		m->logged_code = code;
		m->logged_ms = now;
	}
	pthread_mutex_unlock(&m->lock);
	return may && !atomic_load(&m->set->stopping);
}

void models_log_broken(struct models *m)
{
	size_t logged = 0;

	for (size_t i = 0; i < m->count; i++) {
		struct model *model = &m->items[i];
		struct error broken = view_fault_of(model->node);

		if (broken.code && model_may_log(model, broken.code, LOG_AGAIN_MS) &&
		    logged++ < LOG_BROKEN_MAX)
			log_error_object(LOG_WARNING, &broken, broken.code, "cannot be opened");
	}
	if (logged > LOG_BROKEN_MAX)
		log_warning("%zu more models cannot be opened; sealctl status lists them",
			    logged - LOG_BROKEN_MAX);
}

void model_read_failed(struct model *m, int code, const struct error *err)
{
	if (code != -ECANCELED)
		stats_count_error(read_file_stats(m->file), code);
	if (code == -EBADMSG) {
		bool first;

		pthread_mutex_lock(&m->lock);
		first = !m->poison_logged;
		m->poison_logged = true;
		pthread_mutex_unlock(&m->lock);
		if (first)
			log_error_object(LOG_ERR, err, code, m->node->path);
	} else if (model_may_log(m, code, LOG_AGAIN_READ_MS)) {
		log_error_object(LOG_ERR, err, code, m->node->path);
	}
}

void model_readers_wait(struct model *m, uint64_t offset, const struct deferral_look *who)
{
	uint64_t now = monotonic_ms();
	char list[DEFERRAL_SHOWN_MAX * 12 + 1] = "";
	size_t used = 0;
	bool may;

	pthread_mutex_lock(&m->lock);
	may = m->waits_logged_ms == 0 || now - m->waits_logged_ms >= LOG_AGAIN_MS;
	if (may)
		m->waits_logged_ms = now;
	pthread_mutex_unlock(&m->lock);
	if (!may || atomic_load(&m->set->stopping))
		return;
	for (unsigned i = 0; i < who->shown; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, " %d",
					 (int)who->readers[i].process);
	log_warning("%s: offset %" PRIu64
		    " cannot be read, and %u reader%s it; its errors are delayed now; process:%s%s",
		    m->node->path, offset, who->count,
		    who->count == 1 ? " keeps requesting" : "s keep requesting", list,
		    who->count > who->shown ? " ..." : "");
}
