/* Cases of tests/vectors/verdict/ as requests. A case that cannot be read fails the test. */
#include "tests/unit/attest/verdict/request_json.h"
#include "tests/unit/test.h"

#include "crypto/base/encode.h"

#include <string.h>
#include <unistd.h>

#define BYTES_MAX (8U << 20)

static const char *text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static struct bytes_view base64(struct verdict_case *c, const char *encoded)
{
	uint8_t *bytes = NULL;
	size_t size = 0;

	if (!encoded)
		return (struct bytes_view){.data = NULL};
	assert_int_equal(base64_decode(encoded, BYTES_MAX, &bytes, &size), 0);
	assert_true(c->owned_count < CASE_LIST_MAX);
	c->owned[c->owned_count++] = bytes;
	return (struct bytes_view){bytes, size};
}

static struct bytes_view hex(struct verdict_case *c, const char *digits)
{
	uint8_t *bytes;

	if (!digits)
		return (struct bytes_view){.data = NULL};
	bytes = malloc(strlen(digits) / 2 + 1);
	assert_non_null(bytes);
	assert_int_equal(hex_decode(digits, bytes, strlen(digits) / 2), 0);
	assert_true(c->owned_count < CASE_LIST_MAX);
	c->owned[c->owned_count++] = bytes;
	return (struct bytes_view){bytes, strlen(digits) / 2};
}

static void load_boot(struct verdict_case *c)
{
	const char *pcr;
	json_t *values, *value;
	size_t i;

	json_object_foreach (json_object_get(c->request, "boot"), pcr, values) {
		json_array_foreach (values, i, value) {
			struct verdict_boot *boot = &c->boot[c->req.boot_count++];

			boot->pcr = (unsigned)strtoul(pcr, NULL, 10);
			assert_int_equal(hex_decode(json_string_value(value), boot->value,
						    sizeof(boot->value)),
					 0);
		}
	}
	c->req.boot = c->boot;
}

static unsigned load_digest(const json_t *model, const char *name, uint8_t *out, size_t size,
			    unsigned kind)
{
	const char *digits = text(model, name);

	if (!digits)
		return 0;
	assert_int_equal(hex_decode(digits, out, size), 0);
	return kind;
}

static void load_models(struct verdict_case *c)
{
	json_t *each;
	size_t i;

	json_array_foreach (json_object_get(c->request, "models"), i, each) {
		struct verdict_model *m = &c->models[i];

		m->label = text(each, "label");
		m->kinds = load_digest(each, "sha256", m->digests.sha256, 32, DIGEST_OF_SHA256) |
			   load_digest(each, "sha384", m->digests.sha384, 48, DIGEST_OF_SHA384) |
			   load_digest(each, "verity", m->digests.verity, 32, DIGEST_OF_VERITY) |
			   load_digest(each, "set", m->digests.set, 32, DIGEST_OF_SET);
		c->req.model_count++;
	}
	c->req.models = c->models;
	json_array_foreach (json_object_get(c->request, "modes"), i, each) {
		enum measure_mode mode;

		assert_int_equal(measure_mode_parse(json_string_value(each), &mode), 0);
		c->req.modes |= 1U << mode;
	}
}

static void load_seals(struct verdict_case *c)
{
	json_t *each;
	size_t i;

	json_array_foreach (json_object_get(c->request, "seals"), i, each) {
		struct bytes_view head = base64(c, json_string_value(each));

		assert_int_equal(
			seal_parse_statement("seal", head.data, head.size, &c->seals[i], NULL), 0);
		c->req.seal_count++;
	}
	c->req.seals = c->seals;
	json_array_foreach (json_object_get(c->request, "sets"), i, each) {
		struct bytes_view head = base64(c, json_string_value(each));

		assert_int_equal(
			set_parse_statement("set", head.data, head.size, &c->sets[i], NULL), 0);
		c->req.set_count++;
	}
	c->req.sets = c->sets;
	json_array_foreach (json_object_get(c->request, "members"), i, each)
		c->members[c->req.member_count++] = json_string_value(each);
	c->req.members = c->members;
}

/* Owner keys are loaded from files only. */
static void load_owners(struct verdict_case *c)
{
	json_t *each;
	size_t i;

	assert_int_equal(owner_keys_new(&c->owners), 0);
	json_array_foreach (json_object_get(c->request, "owner_keys"), i, each) {
		char path[] = "/tmp/test_verdict.XXXXXX";
		int fd = mkstemp(path);

		assert_true(fd >= 0);
		assert_true(dprintf(fd,
				    "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
				    text(each, "key")) > 0);
		close(fd);
		assert_int_equal(owner_keys_add_file(c->owners, path, NULL), 0);
		unlink(path);
		c->owner_names[i] = text(each, "name");
	}
	c->req.owners = c->owners;
	c->req.owner_names = c->owner_names;
}

static void load_facts(struct verdict_case *c)
{
	const json_t *age = json_object_get(c->request, "max_age");
	json_t *each;
	size_t i;

	c->req.attest = text(c->request, "attest");
	if (!c->req.attest)
		c->req.attest = "nitrotpm";
	json_array_foreach (json_object_get(c->request, "kms"), i, each) {
		c->kms[i] = strdup(json_string_value(each));
		c->req.kms_key_count++;
	}
	c->req.kms_keys = c->kms;
	c->req.time_s = json_integer_value(json_object_get(c->request, "time"));
	c->req.has_max_age = age || !json_is_true(json_object_get(c->request, "time_given"));
	c->req.max_age_s = age ? (uint64_t)json_integer_value(age) : VERDICT_MAX_AGE_S;
	c->req.allow_debug = json_is_true(json_object_get(c->request, "debug"));
}

void case_load(const char *path, struct verdict_case *c)
{
	const json_t *pcr;

	*c = (struct verdict_case){.json = json_load_file(path, 0, NULL)};
	assert_non_null(c->json);
	c->request = json_object_get(c->json, "request");
	c->expect = json_object_get(c->json, "expect");
	pcr = json_object_get(c->request, "model_pcr");
	c->req.pcr = pcr ? (unsigned)json_integer_value(pcr) : PCR_DEFAULT;
	c->req.document = base64(c, text(c->request, "document"));
	c->req.root = base64(c, text(c->request, "root"));
	c->req.event_log = base64(c, text(c->request, "event_log"));
	c->req.systemd_log = base64(c, text(c->request, "systemd_log"));
	c->req.nonce = hex(c, text(c->request, "nonce"));
	c->req.tls_key = hex(c, text(c->request, "tls_key")).data;
	load_boot(c);
	load_models(c);
	load_seals(c);
	load_owners(c);
	load_facts(c);
}

void case_clear(struct verdict_case *c)
{
	for (size_t i = 0; i < c->owned_count; i++)
		free(c->owned[i]);
	for (size_t i = 0; i < c->req.kms_key_count; i++)
		free(c->kms[i]);
	for (size_t i = 0; i < c->req.seal_count; i++)
		seal_free(c->seals[i]);
	for (size_t i = 0; i < c->req.set_count; i++)
		set_free(c->sets[i]);
	owner_keys_free(c->owners);
	json_decref(c->json);
}
