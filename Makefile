# VeloFlux. `make` builds build/veloflux; the other targets are listed by `make help`.
# Everything made goes below build/, one object folder per variant: release, san (SAN=1),
# plain (TLS_ACCEL=0: mbedTLS without libcrypto underneath), fuzz.

VERSION := 0.1.0
PREFIX ?= /usr/local
WERROR ?= 1
SAN ?=
TLS_ACCEL ?= 1
FUZZ_SECONDS ?= 60
SPECS ?= $(wildcard spec/support spec/unit spec/integration spec/conformance spec/plugins plugins)
export PORT ?= 8000
export ADMIN_PORT ?= 8080
export JOBS BUSTED_ARGS SPEC_TIMEOUT TLS_ACCEL

FUZZ_CC ?= clang
BUILD := build
DEPS := $(BUILD)/deps
GEN := $(BUILD)/gen

ifneq ($(SAN),)
variant := san
out := $(BUILD)/san
else ifeq ($(TLS_ACCEL),0)
variant := plain
out := $(BUILD)/plain
else
variant := release
out := $(BUILD)
endif

comma := ,

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

.PHONY: all
all: $(out)/veloflux $(out)/libveloflux.so

# --- What there is ----------------------------------------------------------------------------

all_sources := $(sort $(shell find src -name '*.c'))
sources := $(if $(filter plain,$(variant)),$(filter-out src/tls/accel/%,$(all_sources)),$(all_sources))
lua_files := $(sort $(shell find lua plugins -type f -not -path 'plugins/*/spec/*' 2>/dev/null)) \
	$(addprefix src/snapshot/,layout_base.h layout_tls.h layout_plugins.h layout.h) src/base/gcra.h src/snapshot/cells.h src/snapshot/dict/dict.h
fuzzers := $(patsubst spec/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard spec/fuzz/*_fuzz.c)))

objects = $(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(sources)) $(BUILD)/obj/$(1)/gen/embedded_lua.o
library_objects = $(filter-out %/src/main.o,$(call objects,$(1)))

# --- Flags ------------------------------------------------------------------------------------

# An event without fields is logged with an empty format.
warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-format-zero-length $(if $(filter 1,$(WERROR)),-Werror)
# Everything is position independent, so that one object serves the program and the test library;
# without semantic interposition that costs nothing.
CFLAGS ?= -O2 -g
tls_flags := $(if $(filter plain,$(variant)),-DVF_TLS_ACCEL=0 -isystem $(DEPS)/plain/include,-DVF_TLS_ACCEL=1)
common_flags := -std=gnu11 -D_GNU_SOURCE= $(warnings) -fPIC -fno-semantic-interposition -pthread \
	-fno-omit-frame-pointer -I src -I $(GEN) $(tls_flags) -isystem $(DEPS)/include \
	-isystem $(DEPS)/include/luajit-2.1
sanitizers := -fsanitize=address,undefined -fno-sanitize-recover=undefined

cc_release := $(CC)
cc_plain := $(CC)
cc_san := $(CC)
cc_fuzz := $(FUZZ_CC)
flags_release := $(common_flags) $(CFLAGS) -fstack-protector-strong
flags_plain := $(flags_release)
flags_san := $(common_flags) -O1 -g $(sanitizers)
flags_fuzz := $(common_flags) -O1 -g -fsanitize=fuzzer-no-link $(sanitizers)
# What src/tls/accel replaces in mbedTLS besides its hooks.
wraps := $(addprefix -Wl$(comma)--wrap=mbedtls_,psa_ecp_generate_key psa_ecp_export_public_key \
	psa_key_agreement_ecdh pk_sign pk_sign_ext pk_verify pk_verify_restartable pk_verify_ext)
link_release := $(LDFLAGS) $(wraps)
link_plain := $(LDFLAGS)
link_san := $(sanitizers) $(LDFLAGS) $(wraps)

dep_libs := $(DEPS)/lib/libluajit-5.1.a $(DEPS)/lib/libllhttp.a \
	$(addprefix $(DEPS)$(if $(filter plain,$(variant)),/plain)/lib/,libmbedtls.a libmbedx509.a libmbedcrypto.a)
system_libs := -luv -lcrypto -lpcre2-8 -lyaml -lcares -largon2 -lhiredis -lsqlite3 -lwebsockets -lnghttp2 -lm -ldl -lpthread
# Lua reaches C through ffi.C, and C modules of Lua reach the Lua API: only these are exported.
exports := -Wl,--export-dynamic-symbol=vf_* -Wl,--export-dynamic-symbol=lua_* \
	-Wl,--export-dynamic-symbol=luaL_*

# --- Dependencies -----------------------------------------------------------------------------

# Targets that promise to work on a fresh machine install what is missing; plain `make` only says so.
ifneq ($(filter deps run test bench fuzz lint,$(MAKECMDGOALS)),)
deps_groups := build $(if $(filter test fuzz lint,$(MAKECMDGOALS)),test) $(if $(filter bench,$(MAKECMDGOALS)),bench)
deps_command := scripts/deps.sh $(deps_groups)
else
deps_command := scripts/deps.sh --check build
endif
ifneq ($(SKIP_DEPS),)
deps_command := true
endif

.PHONY: deps deps-ready deps-fit
deps: deps-ready
deps-ready:
	@CC="$(CC)" $(deps_command)

# Also with SKIP_DEPS: headers of one mbedTLS and the library of another compile, and corrupt the heap.
deps-fit: deps-ready
	@TLS_ACCEL=$(if $(filter plain,$(variant)),0,1) scripts/deps.sh --check-variant

# The recipe rewrites a library only when its key changed; an empty one makes make look again.
$(dep_libs): | deps-fit ;

# --- Compiling --------------------------------------------------------------------------------

.PHONY: force

# Changes only with the version; just the objects whose source names VF_VERSION depend on it.
version := $(VERSION)$(addprefix +,$(shell git rev-parse --short HEAD 2>/dev/null))
# The time of the commit: the same source gives the same binary. Outside of a repository SOURCE_DATE_EPOCH, or now.
build_date := $(or $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%S.000Z 2>/dev/null),\
  $(shell date -u -d @$${SOURCE_DATE_EPOCH:-$$(date +%s)} +%Y-%m-%dT%H:%M:%S.000Z))
$(GEN)/version: force
	@mkdir -p $(@D)
	@printf '%s\n' '$(version)' | cmp -s - $@ || printf '%s\n' '$(version)' >$@
versioned := $(shell grep -rl --include=*.c VF_VERSION src 2>/dev/null)

# Changes only with the list of embedded files, so that a deleted one disappears.
$(GEN)/embedded_lua.list: force
	@mkdir -p $(@D)
	@printf '%s\n' $(lua_files) | cmp -s - $@ || printf '%s\n' $(lua_files) >$@
$(GEN)/embedded_lua.c: $(GEN)/embedded_lua.list $(lua_files) scripts/embed.sh
	@scripts/embed.sh <$< >$@

define variant_rules
# Changes only with the flags, so that new flags rebuild every object.
$(BUILD)/obj/$(1)/flags: force
	@mkdir -p $$(@D)
	@printf '%s\n' '$$(cc_$(1)) $$(flags_$(1))' | cmp -s - $$@ || printf '%s\n' '$$(cc_$(1)) $$(flags_$(1))' >$$@
$(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(sources)): $(BUILD)/obj/$(1)/%.o: %.c $(BUILD)/obj/$(1)/flags | deps-fit
	@mkdir -p $$(@D)
	@echo "cc $$@"
	@$$(cc_$(1)) $$(flags_$(1)) -DVF_VERSION='"$$(version)"' -DVF_BUILD_DATE='"$$(build_date)"' -MMD -MP -c $$< -o $$@
$(BUILD)/obj/$(1)/gen/embedded_lua.o: $(GEN)/embedded_lua.c $(BUILD)/obj/$(1)/flags | deps-fit
	@mkdir -p $$(@D)
	@echo "cc $$@"
	@$$(cc_$(1)) $$(flags_$(1)) -MMD -MP -c $$< -o $$@
$(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(versioned)): $(GEN)/version
# Its headers lay out structs: a new library makes new objects of those that include them.
$(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(filter src/tls/% src/lua/%,$(sources))): $(wildcard $(DEPS)/mbedtls*.stamp)
-include $$(patsubst %.o,%.d,$$(call objects,$(1)))
endef
$(foreach name,$(variant) $(if $(filter fuzz,$(MAKECMDGOALS)),fuzz),$(eval $(call variant_rules,$(name))))

# Linked beside its place and then moved: whoever starts it meanwhile finds a whole file, and two
# makes at once do not mix theirs.
$(out)/veloflux: $(call objects,$(variant)) $(dep_libs)
	@mkdir -p $(@D)
	@echo "link $@"
	@$(cc_$(variant)) $(link_$(variant)) -pie -Wl,-z,relro,-z,now $(exports) $(call objects,$(variant)) \
		$(dep_libs) -l:liblua5.1-cjson.a $(system_libs) -o $@.$$$$ && mv $@.$$$$ $@

# mbedTLS's own tests of what src/tls/accel replaces, and what its specs call, for them to be found.
tested := $(addprefix -Wl$(comma)-u$(comma)mbedtls_,gcm_self_test sha256_self_test sha512_self_test \
	rsa_self_test ecp_group_load ecp_point_write_binary pk_parse_key pk_sign_ext pk_verify_ext)

# For unit specs: loaded by LuaJIT, whose own Lua API it uses.
$(out)/libveloflux.so: $(call library_objects,$(variant)) $(dep_libs)
	@mkdir -p $(@D)
	@echo "link $@"
	@$(cc_$(variant)) $(link_$(variant)) $(tested) -shared $(call library_objects,$(variant)) \
		$(filter-out %/libluajit-5.1.a,$(dep_libs)) -llua5.1-cjson $(system_libs) -o $@.$$$$ && mv $@.$$$$ $@

$(BUILD)/demo-backend: scripts/demo_backend.c | deps-ready
	@mkdir -p $(@D)
	@echo "cc $@"
	@$(CC) -std=gnu11 -D_GNU_SOURCE= $(warnings) -O2 -g $< -o $@

# --- Running ----------------------------------------------------------------------------------

.PHONY: run test bench
run: deps $(out)/veloflux $(BUILD)/demo-backend
	@VF_BINARY=$(out)/veloflux exec scripts/run.sh

test: deps $(out)/veloflux $(out)/libveloflux.so $(BUILD)/demo-backend
	@CC="$(CC)" SAN="$(SAN)" JIT="$(JIT)" VF_BINARY=$(out)/veloflux VF_LIBRARY=$(out)/libveloflux.so scripts/run-specs.sh $(SPECS)

bench: deps $(out)/veloflux $(out)/libveloflux.so
	@VF_BINARY=$(out)/veloflux VF_LIBRARY=$(out)/libveloflux.so spec/bench/run.sh

# --- Fuzzing ----------------------------------------------------------------------------------

$(fuzzers): $(BUILD)/fuzz/%: spec/fuzz/%.c $(call library_objects,fuzz) $(dep_libs)
	@mkdir -p $(@D)
	@echo "link $@"
	@$(cc_fuzz) $(flags_fuzz) -fsanitize=fuzzer $(wraps) $< $(call library_objects,fuzz) $(dep_libs) \
		-l:liblua5.1-cjson.a $(system_libs) -o $@

.PHONY: fuzz
fuzz: deps $(fuzzers)
	@scripts/run-fuzz.sh $(FUZZ_SECONDS) $(fuzzers)

# --- Checking, installing ---------------------------------------------------------------------

.PHONY: lint format
lint: deps
	@scripts/lint.sh

format:
	@clang-format -i $(or $(FILES),$(shell find src spec scripts -name '*.[ch]'))

.PHONY: install docker clean help
install: all
	install -D -m 755 $(BUILD)/veloflux $(DESTDIR)$(PREFIX)/bin/veloflux
	install -D -m 644 conf/veloflux.yaml $(DESTDIR)$(PREFIX)/share/veloflux/conf/veloflux.yaml
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/veloflux/LICENSE
	@# The plugin API with its annotations, for editors; the program has its own.
	cd lua && find veloflux/pdk -name '*.lua' -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/share/veloflux/lua/{} \;

docker:
	docker build -t veloflux -f docker/Dockerfile .

clean: # keeps the built libraries: `rm -rf build` removes those too
	rm -rf $(filter-out $(DEPS) $(BUILD)/src $(BUILD)/apt,$(wildcard $(BUILD)/*))

help:
	@echo 'make                  build/veloflux (SAN=1: build/san/veloflux, with sanitizers;'
	@echo '                      TLS_ACCEL=0: build/plain/veloflux, mbedTLS without libcrypto)'
	@echo 'make deps             packages and libraries that the build needs'
	@echo 'make run              start on conf/veloflux.yaml with three demo backends (PORT=, ADMIN_PORT=)'
	@echo 'make test             all specs (SAN=1: sanitized; SPECS="spec/unit/base": some)'
	@echo 'make fuzz             every fuzz target for FUZZ_SECONDS=60'
	@echo 'make bench            against nginx and HAProxy'
	@echo 'make lint | format    style and layers | apply the C style'
	@echo 'make install          PREFIX=/usr/local, DESTDIR='
	@echo 'make docker | clean'
