/* Findings: ways into an image that nobody may enter, and a kernel that root could change. */
#include "tools/doctor/doctor.h"

#include <string.h>

static void look_units(struct doctor *d, enum finding what, const char *const *units, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (doctor_unit(d, units[i]))
			doctor_find(d, what, "unit %s can be started", units[i]);
}

static void look_services(struct doctor *d)
{
	static const char *const ssh[] = {"ssh.service", "sshd.service", "ssh.socket",
					  "sshd.socket", "dropbear.service"};
	static const char *const getty[] = {"getty@.service", "serial-getty@.service",
					    "console-getty.service"};
	static const char *const ssm[] = {"amazon-ssm-agent.service",
					  "snap.amazon-ssm-agent.amazon-ssm-agent.service"};

	if (!doctor_exists(d, "/usr/lib/systemd/system") &&
	    !doctor_exists(d, "/lib/systemd/system") && !doctor_exists(d, "/etc/systemd/system"))
		doctor_skip(d, "services: there is no systemd");
	look_units(d, FINDING_LOGIN_SSH, ssh, ARRAY_LEN(ssh));
	look_units(d, FINDING_LOGIN_GETTY, getty, ARRAY_LEN(getty));
	look_units(d, FINDING_LOGIN_SSM, ssm, ARRAY_LEN(ssm));
}

static void look_instance_connect(struct doctor *d)
{
	static const char *const files[] = {
		"/opt/aws/bin/eic_run_authorized_keys",
		"/usr/share/ec2-instance-connect/eic_run_authorized_keys",
		"/usr/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf",
		"/lib/systemd/system/ssh.service.d/ec2-instance-connect.conf",
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (doctor_exists(d, files[i])) {
			doctor_find(d, FINDING_LOGIN_CONNECT, "%s exists", files[i]);
			return;
		}
}

/* "!" and "*" lock; an empty field asks for no password at all. */
static void look_passwords(struct doctor *d)
{
	char text[65536], *rest = text, *line;
	ssize_t n = doctor_read(d, "/etc/shadow", text, sizeof(text));

	if (n < 0) {
		doctor_skip(d, "passwords: /etc/shadow: %s", strerror((int)-n));
		return;
	}
	while ((line = doctor_line(&rest)) != NULL) {
		const char *name = strsep(&line, ":"), *password = line ? strsep(&line, ":") : NULL;

		if (!password || password[0] == '!' || password[0] == '*')
			continue;
		doctor_find(d, FINDING_LOGIN_PASSWORD,
			    password[0] ? "account %s has a password"
					: "account %s needs no password",
			    name);
	}
	explicit_bzero(text, sizeof(text));
}

static void look_lockdown(struct doctor *d)
{
	char text[128], line[4096];

	if (doctor_read(d, "/sys/kernel/security/lockdown", text, sizeof(text)) > 0) {
		if (strstr(text, "[none]"))
			doctor_find(d, FINDING_LOCKDOWN, "the kernel is not locked down");
	} else if (doctor_read(d, "/proc/cmdline", line, sizeof(line)) > 0) {
		if (!strstr(line, "lockdown="))
			doctor_find(d, FINDING_LOCKDOWN,
				    "the kernel's command line has no lockdown=");
	} else {
		doctor_skip(d, "lockdown: the tree has neither /sys nor /proc; see its kernel's "
			       "command line");
	}
}

void doctor_look_image(struct doctor *d)
{
	if (!d->attestable)
		return;
	look_services(d);
	look_instance_connect(d);
	look_passwords(d);
	look_lockdown(d);
}
