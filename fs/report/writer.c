/*
 * Writing a report. Job: the same steps for each format.
 */
#include "fs/report/writer.h"

#include "crypto/base/json.h"
#include "fs/report/writer_internal.h"

#include <errno.h>
#include <string.h>

#define JSON_END "\n}\n" /* of json_print() */

struct report_writer {
	enum report_format format;
	const json_t *head;
	FILE *to;
	long begin; /* of `to`; negative: it has no position */
	size_t models;
	struct prometheus *prometheus; /* NULL: another format */
};

/* The object without its end, so that one more member can follow. */
static int begin_json(const json_t *head, FILE *to)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);
	int r = memory ? json_print(head, memory) : -ENOMEM;

	if (memory && fclose(memory) != 0)
		r = -ENOMEM;
	if (r < 0 || size < strlen(JSON_END))
		return -ENOMEM;
	(void)fwrite(text, 1, size - strlen(JSON_END), to);
	fputs(",\n  \"models\": [\n", to);
	return 0;
}

int report_begin(enum report_format format, const json_t *head, FILE *to,
		 struct report_writer **ret)
{
	_cleanup_free_ struct report_writer *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return -ENOMEM;
	*w = (struct report_writer){.format = format, .head = head, .to = to, .begin = ftell(to)};
	if (format == REPORT_TEXT)
		text_head(head, to);
	else if (format == REPORT_JSON)
		r = begin_json(head, to);
	else
		w->prometheus = prometheus_new();
	if (r < 0 || (format == REPORT_PROMETHEUS && !w->prometheus))
		return -ENOMEM;
	*ret = steal_ptr(w);
	return 0;
}

void report_add(struct report_writer *w, const json_t *model)
{
	if (w->format == REPORT_TEXT) {
		text_model(model, w->to);
	} else if (w->format == REPORT_JSON) {
		fputs(w->models > 0 ? "," : "", w->to);
		(void)json_print(model, w->to);
	} else {
		prometheus_add(w->prometheus, model);
	}
	w->models++;
}

size_t report_size(const struct report_writer *w)
{
	return w->prometheus ? prometheus_size(w->prometheus) : (size_t)(ftell(w->to) - w->begin);
}

int report_end(struct report_writer *w, size_t omitted)
{
	int r = 0;

	if (w->format == REPORT_TEXT && omitted > 0)
		fprintf(w->to, "\n%zu more models are not shown: they would need too much memory\n",
			omitted);
	else if (w->format == REPORT_JSON)
		fprintf(w->to, "  ],\n  \"models_omitted\": %zu\n}\n", omitted);
	else if (w->prometheus)
		r = prometheus_end(w->prometheus, w->head, w->models, omitted, w->to);
	prometheus_free(w->prometheus);
	free(w);
	return r;
}

int report_print(enum report_format format, const json_t *report, FILE *to)
{
	const json_t *models = json_object_get(report, "models");
	json_int_t omitted = json_integer_value(json_object_get(report, "models_omitted"));
	struct report_writer *w;
	int r = report_begin(format, report, to, &w);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(models); i++)
		report_add(w, json_array_get(models, i));
	return report_end(w, (size_t)omitted);
}
