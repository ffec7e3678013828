/*
 * Models in memory, as a report shows them. Job: gather the numbers; text.c and prometheus.c print
 * them.
 */
#include "fs/report/residency.h"

static const char *const states[RESIDENT_STATE_COUNT] = {
	[RESIDENT_NOT] = "none",	[RESIDENT_WAITING] = "waiting",
	[RESIDENT_FILLING] = "filling", [RESIDENT_COMPLETE] = "resident",
	[RESIDENT_LEAVING] = "leaving",
};

json_t *residency_of_model(const struct resident_look *look)
{
	json_t *to = json_pack("{s:s, s:I, s:i}", "state", states[look->state], "bytes",
			       (json_int_t)look->bytes, "attached_files", (int)look->attached);

	if (look->why.code && look->state == RESIDENT_NOT)
		json_object_set_new(to, "reason", report_reason(&look->why));
	return to;
}

json_t *residency_of_mount(struct residents *residents)
{
	struct residents_look look;
	json_t *to;

	residents_look(residents, &look);
	to = json_pack("{s:o, s:I, s:b, s:b}", "limit_bytes",
		       look.limit == UINT64_MAX ? json_null()
						: json_integer((json_int_t)look.limit),
		       "used_bytes", (json_int_t)look.bytes, "possible", look.obstacle.code == 0,
		       "huge_pages", look.huge_pages);
	if (look.obstacle.code)
		json_object_set_new(to, "reason", report_reason(&look.obstacle));
	return to;
}
