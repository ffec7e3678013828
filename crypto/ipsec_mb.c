/*
 * Intel's multi-buffer crypto library. Job: AES-256-GCM with a key schedule in secret memory, and
 * SHA-256 of many equal blocks at once, in as many lanes as the CPU's vectors have. Trusts the
 * library's results once backend.c has compared them with OpenSSL's. Must never share one of its
 * managers between two threads, nor leave a key schedule anywhere but in secret memory.
 */
#include "crypto/ipsec_mb.h"

#include "crypto/base/secret.h"

#include <errno.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <string.h>

#define SHA256_SIZE 32
#define MANAGER_ALIGNMENT 64

_Static_assert(sizeof(((struct ipsec_mb_gcm *)NULL)->state) >= sizeof(struct gcm_context_data),
	       "room for a message under way");

struct ipsec_mb_key {
	struct secret *schedule; /* struct gcm_key_data: round keys and powers of the hash key */
};

/* A manager has queues and is not thread-safe. A thread that hashes takes one from this list, or
 * makes one (200 KB, 0.3 ms), and puts it back: there are as many as threads have ever hashed at
 * once. Between uses they hold neither text nor digests: blocks are hashed in place, and a
 * library built with SAFE_DATA, which backend.c requires, clears its lanes. */
struct manager {
	IMB_MGR *mgr;
	struct manager *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct manager *idle; /* guarded by lock */

/* The function table for GCM, which keeps its state with the caller. Immutable once made. */
static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static IMB_MGR *table;

static IMB_MGR *mgr_new(void)
{
	IMB_MGR *mgr = alloc_mb_mgr(0);

	if (!mgr)
		return NULL;
	init_mb_mgr_auto(mgr, NULL);
	if (imb_get_errno(mgr) != 0) {
		free_mb_mgr(mgr);
		return NULL;
	}
	return mgr;
}

static void make_table(void)
{
	table = mgr_new();
}

static bool has(uint64_t flags)
{
	return (table->features & flags) == flags;
}

/* AES-NI by tables, for tests; 2.0 has no such thing any more. */
static bool has_emulation(void)
{
#ifdef IMB_FEATURE_AESNI_EMU
	return has(IMB_FEATURE_AESNI_EMU);
#else
	return false;
#endif
}

bool ipsec_mb_traits(struct ipsec_mb_traits *ret)
{
	*ret = (struct ipsec_mb_traits){0};
	if (pthread_once(&table_once, make_table) != 0 || !table)
		return false;
	ret->version = imb_get_version_str();
	ret->safe_data = has(IMB_FEATURE_SAFE_DATA);
	ret->self_test = has(IMB_FEATURE_SELF_TEST_PASS);
	ret->aes = has(IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ) && !has_emulation();
	ret->sha_ni = has(IMB_FEATURE_SHANI);
	ret->sha_ni_pair = has(IMB_FEATURE_SHANI | IMB_FEATURE_GFNI);
	ret->avx2 = has(IMB_CPUFLAGS_AVX2);
	ret->avx512 = has(IMB_CPUFLAGS_AVX512);
	ret->vaes_avx512 = has(IMB_CPUFLAGS_AVX512_T2);
	return true;
}

int ipsec_mb_key_new(const uint8_t key[32], struct ipsec_mb_key **ret)
{
	_cleanup_(ipsec_mb_key_freep) struct ipsec_mb_key *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	r = secret_new(sizeof(struct gcm_key_data), &k->schedule);
	if (r < 0)
		return r;
	IMB_AES256_GCM_PRE(table, key, (struct gcm_key_data *)secret_bytes(k->schedule));
	*ret = steal_ptr(k);
	return 0;
}

void ipsec_mb_key_free(struct ipsec_mb_key *k)
{
	if (!k)
		return;
	secret_free(k->schedule);
	free(k);
}

static const struct gcm_key_data *schedule(const struct ipsec_mb_key *k)
{
	return (const struct gcm_key_data *)secret_data(k->schedule);
}

static struct gcm_context_data *context(struct ipsec_mb_gcm *g)
{
	return (struct gcm_context_data *)g->state;
}

void ipsec_mb_gcm_begin(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g,
			const uint8_t nonce[12], const uint8_t *aad, size_t aad_size)
{
	static const uint8_t none;

	/* With parameter checks built in, a NULL stops the library before it has set up anything.
	 */
	IMB_AES256_GCM_INIT(table, schedule(k), context(g), nonce, aad_size > 0 ? aad : &none,
			    aad_size);
}

void ipsec_mb_gcm_update(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, const uint8_t *in,
			 size_t size, uint8_t *out, bool encrypt)
{
	if (encrypt)
		IMB_AES256_GCM_ENC_UPDATE(table, schedule(k), context(g), out, in, size);
	else
		IMB_AES256_GCM_DEC_UPDATE(table, schedule(k), context(g), out, in, size);
}

void ipsec_mb_gcm_end(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, bool encrypt,
		      uint8_t tag[16])
{
	if (encrypt)
		IMB_AES256_GCM_ENC_FINALIZE(table, schedule(k), context(g), tag, 16);
	else
		IMB_AES256_GCM_DEC_FINALIZE(table, schedule(k), context(g), tag, 16);
}

static void manager_free(struct manager *m)
{
	if (!m)
		return;
	if (m->mgr)
		free_mb_mgr(m->mgr);
	free(m);
}
DEFINE_CLEANUP(struct manager *, manager_free)

static int manager_take(struct manager **ret)
{
	_cleanup_(manager_freep) struct manager *m = NULL;

	pthread_mutex_lock(&lock);
	m = idle;
	if (m)
		idle = m->next;
	pthread_mutex_unlock(&lock);
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m)
			return -ENOMEM;
		m->mgr = mgr_new();
		if (!m->mgr)
			return -ENOMEM;
	}
	*ret = steal_ptr(m);
	return 0;
}

static void manager_put(struct manager *m)
{
	pthread_mutex_lock(&lock);
	m->next = idle;
	idle = m;
	pthread_mutex_unlock(&lock);
}

/* Counts the jobs that came back hashed, from `job` on. */
static size_t collect(IMB_MGR *mgr, const IMB_JOB *job)
{
	size_t good = 0;

	for (; job; job = IMB_GET_COMPLETED_JOB(mgr))
		good += job->status == IMB_STATUS_COMPLETED;
	return good;
}

static size_t submit(IMB_MGR *mgr, const uint8_t *block, size_t size, uint8_t *out)
{
	IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);

	job->src = block;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = size;
	job->auth_tag_output = out;
	job->auth_tag_output_len_in_bytes = SHA256_SIZE;
	job->hash_alg = IMB_AUTH_SHA_256;
	job->cipher_mode = IMB_CIPHER_NULL;
	job->cipher_direction = IMB_DIR_ENCRYPT;
	job->chain_order = IMB_ORDER_HASH_CIPHER;
	return collect(mgr, IMB_SUBMIT_JOB(mgr));
}

int ipsec_mb_sha256_blocks(const uint8_t *data, size_t block_size, size_t count, uint8_t *out)
{
	_cleanup_(manager_freep) struct manager *m = NULL;
	const IMB_JOB *job;
	size_t good = 0;
	int r = manager_take(&m);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		good += submit(m->mgr, data + i * block_size, block_size, out + i * SHA256_SIZE);
	while ((job = IMB_FLUSH_JOB(m->mgr)))
		good += collect(m->mgr, job);
	/* A manager that failed is not used again. */
	if (good != count)
		return -EIO;
	manager_put(steal_ptr(m));
	return 0;
}
