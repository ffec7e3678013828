/*
 * Mounts for evidence. Job: find them and ask their daemons. Trusts the kernel about who mounted
 * what. Must never read a mount of an untrusted user: it could block this program
 * endlessly.
 */
#include "tools/evidence/evidence_mounts.h"

#include "crypto/base/json.h"
#include "fs/mount/mount_root.h"
#include "fs/mount/mount_table.h"
#include "tools/mount/mount_report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct gathering {
	json_t *mounts, *seals, *sets;
	uint32_t log_owner;
	char devices[EVIDENCE_MOUNTS_MAX][MOUNT_TABLE_DEVICE_SIZE];
	size_t count;
};

static bool is_wanted(const struct gathering *g, const struct mount_entry *e)
{
	if (!e->whole || g->count == EVIDENCE_MOUNTS_MAX || e->user == UINT32_MAX ||
	    (e->user != 0 && e->user != geteuid() && e->user != g->log_owner))
		return false;
	/* One that is bound to several places. */
	for (size_t i = 0; i < g->count; i++)
		if (strcmp(g->devices[i], e->device) == 0)
			return false;
	return true;
}

/* The members of from that the caller of a relying party may see, under these names. */
static int add_model(json_t *models, const json_t *from)
{
	json_t *model = json_pack("{s:O, s:O, s:O}", "name", json_object_get(from, "name"), "state",
				  json_object_get(from, "state"), "measured",
				  json_object_get(from, "measured"));

	return json_array_append_new(models, model);
}

static int add_seal(struct gathering *g, const json_t *from)
{
	json_t *seal;

	if (!g->seals || json_array_size(g->seals) >= EVIDENCE_SEALS_MAX)
		return 0;
	seal = json_pack("{s:O, s:O}", "path", json_object_get(from, "name"), "head",
			 json_object_get(from, "head"));
	return json_array_append_new(g->seals, seal);
}

static int add_set(struct gathering *g, const json_t *from)
{
	if (!g->sets || !from)
		return 0;
	return json_array_append_new(g->sets,
				     json_pack("{s:O}", "head", json_object_get(from, "head")));
}

static int add_report(struct gathering *g, json_t *mount, const json_t *report)
{
	const json_t *seals = json_object_get(report, "seals");
	json_t *models = json_array();
	int r = json_object_set_new(mount, "models", models);

	if (r == 0)
		r = add_set(g, json_object_get(report, "set"));
	for (size_t i = 0; r == 0 && i < MIN(json_array_size(seals), (size_t)EVIDENCE_SEALS_MAX);
	     i++) {
		const json_t *from = json_array_get(seals, i);

		r = add_model(models, from);
		if (r == 0)
			r = add_seal(g, from);
	}
	if (r == 0)
		r = json_object_set(mount, "files", json_object_get(report, "models"));
	return r < 0 ? -ENOMEM : 0;
}

static int add_mount(void *arg, const struct mount_entry *entry)
{
	struct gathering *g = arg;
	_cleanup_json_ json_t *report = NULL;
	struct error err = {0};
	json_t *mount;
	int r;

	if (!is_wanted(g, entry))
		return 0;
	memcpy(g->devices[g->count++], entry->device, sizeof(entry->device));
	mount = json_pack("{s:o}", "path", json_outside_text(entry->path));
	if (json_array_append_new(g->mounts, mount) < 0)
		return -ENOMEM;
	r = mount_report_read_seals(entry->path, &report, &err);
	if (r == 0)
		return add_report(g, mount, report);
	return json_object_set_new(mount, "error", json_outside_text(error_text(&err, r))) < 0
		       ? -ENOMEM
		       : 0;
}

int evidence_mounts_add(const char *event_log, json_t *mounts, json_t *seals, json_t *sets)
{
	struct gathering g = {
		.mounts = mounts, .seals = seals, .sets = sets, .log_owner = UINT32_MAX};
	struct stat st;
	int r;

	if (stat(event_log, &st) == 0)
		g.log_owner = st.st_uid;
	r = mount_table_each(MOUNT_TYPE, add_mount, &g);
	return r == -ENOMEM ? r : 0;
}
