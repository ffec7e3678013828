/* fs/model: opens that wait, and those who open and do not wait for the answer. */
#include "fs/models/model.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>

#define WAIT_MS 20000

/* One model, whose unlocking does not begin: the only thread that could is held up. */
struct stuck {
	char path[8];
	struct view_node node;
	struct view_node *files[1];
	struct view view;
	struct pool *openers;
	struct measured *measured;
	struct models *models;
	pthread_mutex_t gate;
};

static void hold_up(void *arg)
{
	struct stuck *s = arg;

	pthread_mutex_lock(&s->gate);
	pthread_mutex_unlock(&s->gate);
}

static void begin(struct stuck *s)
{
	struct models_options options = {.view = &s->view, .measure = MEASURE_NONE};

	*s = (struct stuck){.path = "a.gguf", .node.kind = VIEW_FILE};
	s->node.path = s->path;
	s->files[0] = &s->node;
	s->view.files = s->files;
	s->view.file_count = 1;
	pthread_mutex_init(&s->gate, NULL);
	pthread_mutex_lock(&s->gate);
	assert_int_equal(pool_new(1, &s->openers), 0);
	assert_int_equal(pool_submit(s->openers, hold_up, s), 0);
	assert_int_equal(measured_new(&options.measure_options, MEASURE_NONE, &s->measured), 0);
	options.openers = s->openers;
	options.measured = s->measured;
	assert_int_equal(models_new(&options, &s->models), 0);
}

static void end(struct stuck *s)
{
	models_stop(s->models);
	pthread_mutex_unlock(&s->gate);
	assert_true(models_idle(s->models, WAIT_MS));
	pool_free(s->openers);
	models_free(s->models);
	measured_free(s->measured);
	pthread_mutex_destroy(&s->gate);
}

/* Somebody who opens. */
struct opener {
	bool gone;
	unsigned asked, answers;
	int code;
};

static bool is_gone(void *arg)
{
	struct opener *o = arg;

	o->asked++;
	return o->gone;
}

static void answered(void *arg, struct model *m, int code)
{
	struct opener *o = arg;

	o->answers++;
	o->code = code;
}

static void test_gone_before_it_waited(void **state)
{
	struct opener first = {0}, gone = {.gone = true}, last = {0};
	struct stuck s;
	struct model *m;

	begin(&s);
	m = models_get(s.models, &s.node);
	model_open(m, answered, is_gone, &first);
	model_open(m, answered, is_gone, &gone);
	model_open(m, answered, is_gone, &last);
	assert_int_equal(gone.answers, 1);
	assert_int_equal(gone.code, -EINTR);
	assert_false(model_open_cancel(m, &gone));
	/* The others wait as before. */
	assert_int_equal(first.asked, 1);
	assert_int_equal(first.answers + last.answers, 0);
	assert_true(model_open_cancel(m, &last));
	end(&s);
	assert_int_equal(first.answers, 1);
	assert_int_equal(first.code, -EINTR);
	assert_int_equal(gone.answers, 1);
	assert_int_equal(last.answers, 0);
}

/* Who made the unlocking begin may be the one who goes: it goes on for those who come. */
static void test_first_is_gone(void **state)
{
	struct opener gone = {.gone = true}, next = {0};
	struct stuck s;
	struct model *m;

	begin(&s);
	m = models_get(s.models, &s.node);
	model_open(m, answered, is_gone, &gone);
	assert_int_equal(gone.code, -EINTR);
	model_open(m, answered, is_gone, &next);
	assert_int_equal(next.answers, 0);
	end(&s);
	assert_int_equal(next.code, -EINTR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gone_before_it_waited),
		cmocka_unit_test(test_first_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
