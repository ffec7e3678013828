/* fs/aws/peers: which addresses are asked for credentials without TLS. */
#include "fs/aws/peers.h"

#include "tests/unit/test.h"

/* Each has addresses of its own; nobody gets the other's. */
static void metadata_and_containers(void **state)
{
	static const char *const urls[][3] = {
		{"http://169.254.169.254", "http://[fd00:ec2::254]/x", NULL},
		{"http://169.254.170.2/v2/x", "http://169.254.170.23/v1/credentials",
		 "http://[fd00:ec2::23]/v1"},
	};
	static const char *const nobody[] = {
		"http://169.254.169.253/",	     "http://169.254.170.3/",
		"http://169.254.170.2.example.com/", "http://169.254.170.2@example.com/",
		"http://169.254.169.254.nip.io/",    "http://[fd00:ec2::2540]/"};
	static const struct transport_peer *const peers[] = {&aws_metadata_peer,
							     &aws_container_peer, NULL};
	static const char *const named[] = {"minio.lan:9000"};
	static const struct transport_hosts allowed = {named, 1};

	for (size_t peer = 0; peer < ARRAY_LEN(peers); peer++) {
		for (size_t of = 0; of < ARRAY_LEN(urls); of++)
			for (size_t i = 0; i < 3 && urls[of][i]; i++)
				assert_int_equal(
					transport_judge(urls[of][i], peers[peer], &allowed),
					of == peer ? TRANSPORT_PLAIN : TRANSPORT_REFUSED);
		for (size_t i = 0; i < ARRAY_LEN(nobody); i++)
			assert_int_equal(transport_judge(nobody[i], peers[peer], &allowed),
					 TRANSPORT_REFUSED);
	}
	assert_int_equal(transport_judge("http://minio.lan:9000", &aws_metadata_peer, &allowed),
			 TRANSPORT_PLAIN);
	assert_int_equal(transport_judge("http://minio.lan:9000", &aws_container_peer, &allowed),
			 TRANSPORT_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(metadata_and_containers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
