/*
 * Sets as text and JSON. Job: the same facts in both. Needs no key and shows none. Trusts no name.
 */
#include "tools/inspect/describe_set.h"

#include "crypto/base/printable.h"
#include "crypto/slot_text.h"
#include "tools/common/output.h"
#include "tools/inspect/describe.h"

#include <inttypes.h>
#include <string.h>

json_t *describe_set_json(const struct set *set, const char *label)
{
	const struct set_header *h = set_header(set);
	const struct sealed_head *head = set_head(set);
	json_t *signer = json_null(), *value;

	if (sealed_head_is_signed(head))
		signer = output_hex_json(head->signer_id, SIGNER_ID_SIZE);
	value = json_pack("{s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:i, s:o, s:o, s:o, s:o}", "type",
			  "set", "verified", 0, "name", output_text(h->name), "id",
			  output_hex_json(h->id, sizeof(h->id)), "version", (json_int_t)h->version,
			  "created_at", (json_int_t)h->created, "expires_at",
			  (json_int_t)h->expires, "members", (int)h->member_count, "content",
			  output_hex_json(h->content, sizeof(h->content)), "facts",
			  describe_facts_json(h->facts), "signer", signer, "recipients",
			  describe_slots_json(head->slots, head->slot_count));
	if (value && label)
		json_object_set_new(value, "object", output_text(label));
	return value;
}

static const char *when(uint64_t seconds, char out[OUTPUT_TIME_SIZE])
{
	return seconds == 0 ? "never" : output_time_ms((int64_t)seconds * 1000, out);
}

void describe_set(const struct set *set, const char *label)
{
	const struct set_header *h = set_header(set);
	const struct sealed_head *head = set_head(set);
	char name[NAME_PRINTABLE_SIZE], slot[SLOT_TEXT_SIZE], text[OUTPUT_TIME_SIZE];

	name_printable(label, name);
	print_safely(stdout, "%s: set (nothing is verified here)\n", name);
	name_printable(h->name, name);
	print_safely(stdout, "  name        %s\n", name);
	print_safely(stdout, "  version     %" PRIu64 "\n", h->version);
	print_safely(stdout, "  set id      %s\n", OUTPUT_HEX(h->id, sizeof(h->id)));
	print_safely(stdout, "  created     %s\n", when(h->created, text));
	print_safely(stdout, "  expires     %s\n", when(h->expires, text));
	describe_facts(h->facts);
	print_safely(stdout, "  members     %" PRIu32 "\n", h->member_count);
	print_safely(stdout, "  content     sha256:%s\n",
		     OUTPUT_HEX(h->content, sizeof(h->content)));
	if (sealed_head_is_signed(head))
		print_safely(stdout, "  signer      %s (Ed25519)\n",
			     OUTPUT_HEX(head->signer_id, SIGNER_ID_SIZE));
	else
		print_safely(stdout, "  signer      none: unsigned\n");
	for (unsigned i = 0; i < head->slot_count; i++)
		print_safely(stdout, "  recipient   %s\n", slot_text(&head->slots[i], slot));
}

json_t *describe_members_json(const struct set *set)
{
	json_t *all = json_array();
	const struct set_member *m;

	for (size_t i = 0; (m = set_member(set, i)); i++)
		output_append(&all,
			      json_pack("{s:o, s:o, s:I, s:o, s:o, s:o}", "path",
					output_text(m->path), "file_id",
					output_hex_json(m->file_id, sizeof(m->file_id)), "length",
					(json_int_t)m->length, "sha256",
					output_hex_json(m->sha256, sizeof(m->sha256)), "sha384",
					output_hex_json(m->sha384, sizeof(m->sha384)), "verity",
					output_hex_json(m->verity, sizeof(m->verity))));
	return all;
}

void describe_members(const struct set *set)
{
	char name[NAME_PRINTABLE_SIZE];
	const struct set_member *m;

	for (size_t i = 0; (m = set_member(set, i)); i++) {
		name_printable(m->path, name);
		print_safely(stdout, "  %s  %12" PRIu64 "  %s\n",
			     OUTPUT_HEX(m->sha256, sizeof(m->sha256)), m->length, name);
	}
}
