/* Each finding: its name, why it matters, how to mend it. Constant text; sealctl(1) lists the
 * names. */
#include "tools/doctor/findings.h"

static const struct finding_kind kinds[FINDINGS] = {
	[FINDING_FUSE_MISSING] = {"fuse-missing", "without FUSE nothing can be mounted",
				  "load the kernel's module: modprobe fuse"},
	[FINDING_FUSE_ACCESS] = {"fuse-access", "only root can mount",
				 "chmod 0666 /dev/fuse, which is udev's default"},
	[FINDING_FUSE_PAGES] = {"fuse-pages",
				"each read of the kernel is smaller, so that reading is slower",
				"sysctl fs.fuse.max_pages_limit=256"},
	[FINDING_FUSE_MOUNTS] =
		{"fuse-mounts", "a user's next mount is refused",
		 "unmount what is not needed, or raise mount_max in /etc/fuse.conf"},
	[FINDING_ALLOW_OTHER] = {"allow-other",
				 "fusermount3 refuses allow_other and allow_root to "
				 "users",
				 "write user_allow_other into /etc/fuse.conf, or mount as root"},
	[FINDING_FUSERMOUNT] = {"fusermount", "a user's mount needs its help",
				"install fuse3, whose fusermount3 is set-uid root"},
	[FINDING_STALE_MOUNT] = {"stale-mount", "every access to it fails, also of who waits there",
				 "sealedfs --unmount MOUNTPOINT, then mount again"},
	[FINDING_SWAP] =
		{"swap",
		 "the memory of the inference server has plaintext, which would reach this "
		 "device; sealedfs itself locks its memory",
		 "swapoff -a, and remove the swap from /etc/fstab; or encrypt it with a key "
		 "that is random at each boot"},
	[FINDING_SWAP_CONFIGURED] =
		{"swap-configured", "at the next boot, memory with plaintext may reach this device",
		 "remove the line from /etc/fstab"},
	[FINDING_HIBERNATION] = {"hibernation",
				 "hibernation writes all memory to a disk, keys and plaintext too",
				 "boot with nohibernate, or with lockdown=integrity"},
	[FINDING_CORE_PATTERN] =
		{"core-pattern",
		 "the core of an inference server has plaintext, whatever its limit is",
		 "Storage=none in /etc/systemd/coredump.conf, or sysctl "
		 "kernel.core_pattern='|/bin/false'"},
	[FINDING_MEMLOCK] =
		{"memlock", "what cannot be locked in memory may be written to swap",
		 "raise the limit (ulimit -l, memlock in /etc/security/limits.conf), or "
		 "make memory= smaller"},
	[FINDING_HUGE_PAGES] =
		{"huge-pages",
		 "reserved huge pages cannot hold the page cache, in which models lie",
		 "sysctl vm.nr_hugepages=0, unless the inference server uses them"},
	[FINDING_IO_LIMIT] = {"io-limit", "models are read no faster than this",
			      "remove the limit, or put up with it"},
	[FINDING_CLOCK_SERVICE] = {"clock-service",
				   "AWS refuses requests whose time is wrong by 15 minutes",
				   "install and enable chrony or systemd-timesyncd"},
	[FINDING_TPM_MISSING] = {"tpm-missing",
				 "this mount attests or measures, and cannot without a TPM",
				 "use an AMI with NitroTPM enabled; or key files, attest=none and "
				 "measure=none"},
	[FINDING_TPM_ACCESS] = {"tpm-access", "the mount could not attest or measure",
				"run as root or as a member of the group tss; end the program that "
				"holds /dev/tpm0"},
	[FINDING_TPM_GROUP] = {"tpm-group",
			       "sealedfs@.service joins the group tss for access to the TPM",
			       "systemd-sysusers, and install tpm-udev, whose rule gives "
			       "/dev/tpmrm0 to tss"},
	[FINDING_TPM_BANKS] =
		{"tpm-banks",
		 "attestation documents show SHA-384, and every active bank has to be "
		 "extended",
		 "activate the banks sha256 and sha384, and no other, in the firmware"},
	[FINDING_TPM_LEFTOVER] = {"tpm-leftover",
				  "a process died while it attested; each takes 8 KiB of the TPM, "
				  "which has little",
				  "tpm2_nvundefine INDEX, while nothing attests"},
	[FINDING_PCR_FOREIGN] = {"pcr-foreign",
				 "sealedfs refuses to measure into it: consumers would see a value "
				 "that nobody predicts",
				 "choose another PCR with pcr=, or reboot without what extends it"},
	[FINDING_CLOCK] = {"clock", "AWS refuses requests whose time is wrong by 15 minutes",
			   "set the clock: chronyc makestep, or timedatectl set-ntp true"},
	[FINDING_REGION] = {"region", "without a region no server of AWS is known",
			    "region=, AWS_REGION, or region in the AWS configuration file"},
	[FINDING_CREDENTIALS_MISSING] = {"credentials-missing",
					 "requests to S3 and KMS cannot be signed",
					 "give the instance a role, or name a profile with "
					 "profile="},
	[FINDING_CREDENTIALS_LASTING] =
		{"credentials-lasting",
		 "who copies them can use them anywhere and for ever; a key "
		 "policy that asks for a document limits only Decrypt",
		 "give the instance a role, whose keys expire"},
	[FINDING_IMDS_UNREACHABLE] = {"imds-unreachable",
				      "the instance's role and region come from there",
				      "enable IMDSv2 for the instance; in a container set the hop "
				      "limit to 2"},
	[FINDING_S3_UNREACHABLE] = {"s3-unreachable", "no model can be listed or read",
				    "check routes, security groups, proxies and VPC endpoints for "
				    "S3"},
	[FINDING_KMS_UNREACHABLE] = {"kms-unreachable", "no model can be unlocked",
				     "check routes, security groups, proxies and VPC endpoints for "
				     "KMS"},
	[FINDING_PLACE] = {"place", "a mount without models fails, unless allow-empty is given",
			   "check the name of the folder or bucket, and who may read it"},
	[FINDING_BUCKET_LIST] = {"bucket-list", "the mount must list the models",
				 "allow this role s3:ListBucket on the bucket"},
	[FINDING_BUCKET_GET] = {"bucket-get", "the mount must read seals and payloads",
				"allow this role s3:GetObject on the objects"},
	[FINDING_KEY_POLICY] = {"key-policy", "KMS would not release the data key",
				"boot the approved image, or add its measurements to the policy: "
				"sealctl policy --measurements"},
	[FINDING_OMS_BUNDLE] = {"oms-bundle", "the mount would not begin",
				"name the bundle that the model's author signed in oms=, and the "
				"author's public key in oms-key="},
	[FINDING_OLLAMA_MODELS] =
		{"ollama-models", "Ollama reads another store, and would not see the sealed models",
		 "set OLLAMA_MODELS by systemctl edit ollama, or remove what replaces "
		 "the drop-in of sealedfs"},
	[FINDING_OLLAMA_NOPRUNE] = {"ollama-noprune",
				    "at its start Ollama would try to remove files of the store, "
				    "which is read-only",
				    "Environment=OLLAMA_NOPRUNE=1 by systemctl edit ollama"},
	[FINDING_OLLAMA_GROUP] = {"ollama-group",
				  "files of the mount have mode 0440 and belong to this group",
				  "SupplementaryGroups=sealedfs by systemctl edit ollama"},
	[FINDING_OLLAMA_VERSION] =
		{"ollama-version",
		 "up to 0.24, Ollama exits at a file that is called .gguf and is "
		 "none",
		 "install a newer Ollama"},
	[FINDING_PLAINTEXT_COPY] = {"plaintext-copy", "who can read this disk needs no key",
				    "remove it, or move it to where the owner keeps plaintexts"},
	[FINDING_LOGIN_SSH] = {"login-ssh",
			       "who logs in can read plaintext, and the measurements "
			       "of the image cannot exclude that",
			       "remove openssh-server from the image"},
	[FINDING_LOGIN_GETTY] = {"login-getty", "the serial console of EC2 leads to a login",
				 "mask the unit in the image: systemctl mask NAME"},
	[FINDING_LOGIN_SSM] = {"login-ssm",
			       "whoever may use Session Manager in the account gets a root shell",
			       "remove amazon-ssm-agent from the image"},
	[FINDING_LOGIN_CONNECT] =
		{"login-instance-connect",
		 "whoever may use EC2 Instance Connect in the account can send a key "
		 "for a login",
		 "remove ec2-instance-connect from the image"},
	[FINDING_LOGIN_PASSWORD] = {"login-password",
				    "who knows the password can log in where anything asks for it",
				    "lock the account in the image: passwd -l NAME"},
	[FINDING_LOCKDOWN] = {"lockdown",
			      "root can change the running kernel and read all memory, which no "
			      "measurement shows",
			      "boot with lockdown=integrity or lockdown=confidentiality"},
};

const struct finding_kind *finding_kind(enum finding what)
{
	return &kinds[what];
}
