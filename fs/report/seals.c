/*
 * The seals of a mount, as far as they are public. Job: print the statement of each model that was
 * unlocked, and of the set, from memory. Must never print a slot or anything else of keys.
 */
#include "fs/report/report.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>

static int print_seal(const char *name, const struct model_look *look,
		      const uint8_t statement[SEAL_STATEMENT_SIZE], FILE *to)
{
	_cleanup_free_ char *head = base64_encode(statement, SEAL_STATEMENT_SIZE);
	_cleanup_json_ json_t *seal = NULL;

	if (head)
		seal = json_pack("{s:o, s:s, s:o, s:s}", "name", json_outside_text(name), "state",
				 report_condition(look->condition), "measured",
				 look->measurement.done ? json_string(look->measurement.event)
							: json_null(),
				 "head", head);
	return seal ? json_print(seal, to) : -ENOMEM;
}

static int print_set(const struct mounted_set *s, FILE *to)
{
	uint8_t statement[SEAL_STATEMENT_SIZE];
	_cleanup_free_ char *head = NULL;

	if (!s)
		return 0;
	set_copy_statement(mounted_set_get(s), statement);
	head = base64_encode(statement, sizeof(statement));
	return head && fprintf(to, "\"set\": {\"head\": \"%s\"}, ", head) > 0 ? 0 : -ENOMEM;
}

int report_write_seals(const struct report_sources *s, size_t limit, FILE *to)
{
	struct generation *g = catalog_acquire(s->catalog);
	const struct view *v = generation_view(g);
	uint8_t statement[SEAL_STATEMENT_SIZE];
	size_t printed = 0, omitted = 0;
	long begin = ftell(to);
	int r;

	fprintf(to, "{\"models\": %zu, ", v->file_count);
	r = print_set(generation_set(g), to);
	fputs("\"seals\": [\n", to);
	for (size_t i = 0; r == 0 && i < v->file_count; i++) {
		struct model *m = generation_model(g, v->files[i]);
		struct model_look look;

		if (!model_statement(m, statement))
			continue;
		if ((size_t)(ftell(to) - begin) >= limit) {
			omitted++;
			continue;
		}
		model_look(m, &look);
		fputs(printed++ > 0 ? "," : "", to);
		r = print_seal(v->files[i]->path, &look, statement, to);
	}
	fprintf(to, "], \"seals_omitted\": %zu}\n", omitted);
	catalog_release(s->catalog, g);
	return r < 0 || ferror(to) ? -ENOMEM : 0;
}
