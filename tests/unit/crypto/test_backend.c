/* crypto/backend: the decision for every kind of CPU, and the words for it. */
#include "crypto/backend.h"

#include "crypto/ipsec_mb.h"
#include "tests/unit/test.h"

#include <string.h>

/* A CPU of each kind, as libipsec-mb reports it. */
static const struct ipsec_mb_traits sse = {
	.version = "1.3.0",
	.safe_data = true,
	.self_test = true,
	.aes = true,
	.agrees = true,
};

static struct ipsec_mb_traits kind(bool sha_ni, bool sha_ni_pair, bool avx2, bool avx512, bool vaes)
{
	struct ipsec_mb_traits t = sse;

	t.sha_ni = sha_ni;
	t.sha_ni_pair = sha_ni_pair;
	t.avx2 = avx2;
	t.avx512 = avx512;
	t.vaes_avx512 = vaes;
	return t;
}

static void each_kind_of_cpu_gets_what_is_faster(void **state)
{
	const struct {
		struct ipsec_mb_traits traits;
		bool gcm, tree;
	} cpus[] = {
		{kind(false, false, false, false, false), false, false}, /* before AVX2 */
		{kind(false, false, true, false, false), false, true},	 /* Haswell to Comet Lake */
		{kind(true, false, true, false, false), false, false},	 /* Zen 1 to 3 */
		{kind(true, true, true, false, false), false, true},	 /* Alder Lake */
		{kind(false, false, true, true, false), false, true},	 /* Skylake server */
		{kind(true, true, true, true, true), true, true}, /* Ice Lake server, Zen 4 */
	};

	for (size_t i = 0; i < ARRAY_LEN(cpus); i++) {
		struct crypto_backends b;
		const char *why = "";

		assert_int_equal(crypto_backend_decide(CRYPTO_AUTO, &cpus[i].traits, &b, &why), 0);
		assert_null(why);
		if (b.gcm_by_ipsec_mb != cpus[i].gcm || b.tree_by_ipsec_mb != cpus[i].tree)
			fail_msg("CPU %zu: %d %d", i, b.gcm_by_ipsec_mb, b.tree_by_ipsec_mb);
		/* Asked for, it is used where it is slower too; and never against the wish. */
		assert_int_equal(crypto_backend_decide(CRYPTO_IPSEC_MB, &cpus[i].traits, &b, &why),
				 0);
		assert_true(b.gcm_by_ipsec_mb && b.tree_by_ipsec_mb);
		assert_int_equal(crypto_backend_decide(CRYPTO_OPENSSL, &cpus[i].traits, &b, &why),
				 0);
		assert_false(b.gcm_by_ipsec_mb || b.tree_by_ipsec_mb);
	}
}

static void expect_openssl(const struct ipsec_mb_traits *t, const char *word)
{
	struct crypto_backends b = {true, true};
	const char *why = NULL;

	assert_int_equal(crypto_backend_decide(CRYPTO_AUTO, t, &b, &why), 0);
	assert_false(b.gcm_by_ipsec_mb || b.tree_by_ipsec_mb);
	b = (struct crypto_backends){true, true};
	assert_int_equal(crypto_backend_decide(CRYPTO_IPSEC_MB, t, &b, &why), -ENOTSUP);
	assert_false(b.gcm_by_ipsec_mb || b.tree_by_ipsec_mb);
	assert_non_null(strstr(why, word));
	assert_int_equal(crypto_backend_decide(CRYPTO_OPENSSL, t, &b, &why), 0);
}

/* However fast the CPU is. */
static void a_library_that_is_not_fit_is_not_used(void **state)
{
	struct ipsec_mb_traits t;

	expect_openssl(NULL, "without it");
	t = kind(true, true, true, true, true);
	t.aes = false;
	expect_openssl(&t, "AES-NI");
	t = kind(true, true, true, true, true);
	t.safe_data = false;
	expect_openssl(&t, "SAFE_DATA");
	t = kind(true, true, true, true, true);
	t.self_test = false;
	expect_openssl(&t, "self-test");
	t = kind(true, true, true, true, true);
	t.agrees = false;
	expect_openssl(&t, "OpenSSL");
}

static void choices_have_names(void **state)
{
	static const char *const bad[] = {"", "AUTO", "auto ", "ipsec_mb", "openssl3", "none"};
	enum crypto_choice c;

	assert_int_equal(crypto_choice_parse("auto", &c), 0);
	assert_int_equal(c, CRYPTO_AUTO);
	assert_int_equal(crypto_choice_parse("openssl", &c), 0);
	assert_int_equal(c, CRYPTO_OPENSSL);
	assert_int_equal(crypto_choice_parse("ipsec-mb", &c), 0);
	assert_int_equal(c, CRYPTO_IPSEC_MB);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(crypto_choice_parse(bad[i], &c), -EINVAL);
}

static void the_text_names_what_is_used(void **state)
{
	char text[CRYPTO_BACKEND_TEXT_SIZE];
	struct ipsec_mb_traits t;
	struct error err = {0};

	assert_int_equal(crypto_backend_choose(CRYPTO_OPENSSL, &err), 0);
	assert_false(crypto_gcm_by_ipsec_mb() || crypto_tree_by_ipsec_mb());
	crypto_backend_text(text);
	assert_int_equal(strncmp(text, "AES-256-GCM: OpenSSL 3.", 23), 0);
	assert_non_null(strstr(text, "; SHA-256 trees: OpenSSL 3."));
	(void)ipsec_mb_traits(&t);
	if (crypto_backend_choose(CRYPTO_IPSEC_MB, &err) < 0) {
		assert_int_equal(err.code, -ENOTSUP);
		assert_non_null(strstr(err.message, "libipsec-mb"));
		/* What was chosen before still holds. */
		assert_false(crypto_gcm_by_ipsec_mb() || crypto_tree_by_ipsec_mb());
		return;
	}
	assert_true(crypto_gcm_by_ipsec_mb() && crypto_tree_by_ipsec_mb());
	crypto_backend_text(text);
	assert_non_null(strstr(text, "AES-256-GCM: ipsec-mb "));
	assert_non_null(strstr(text, "; SHA-256 trees: ipsec-mb "));
	assert_non_null(strstr(text, t.version));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_cpu_gets_what_is_faster),
		cmocka_unit_test(a_library_that_is_not_fit_is_not_used),
		cmocka_unit_test(choices_have_names),
		cmocka_unit_test(the_text_names_what_is_used),
	};

	return cmocka_run_group_tests_name("crypto/backend", tests, NULL, NULL);
}
