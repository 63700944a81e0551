"""What is read from compiled programs: collectives, loops, and dense algebra inside them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.hlo import dense_algebra_in_loops, find_collectives, shape_bytes

# Forms that the TPU compiler writes, shortened.
TPU = """\
HloModule jit_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (input: f32[64,60]) -> f32[16,60] {
  %input = f32[64,60]{1,0} parameter(0)
  %all-reduce.9 = f32[64,60]{1,0:T(8,128)} all-reduce(%input), channel_id=15, to_apply=%sum
  ROOT %slice = f32[16,60]{1,0} slice(%all-reduce.9), slice={[0:16], [0:60]}
}

%first (x: bf16[8,15]) -> bf16[8,60] {
  %x = bf16[8,15]{1,0} parameter(0)
  ROOT %all-gather.1 = bf16[8,60]{1,0} all-gather(%x), channel_id=7, dimensions={1}, frontend_attributes={chain_id="0"}, metadata={op_name="jit(step)/sharding_constraint"}
}

%second (x: bf16[8,15]) -> bf16[8,60] {
  %x = bf16[8,15]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[8,60]{1,0} all-gather(%x), channel_id=7, dimensions={1}, frontend_attributes={chain_id="0"}, metadata={op_name="jit(step)/sharding_constraint"}
}

%body (p: (s32[], f32[64,60])) -> (s32[], f32[64,60]) {
  %p = (s32[], f32[64,60]{1,0}) parameter(0)
  %x.1 = f32[64,60]{1,0} get-tuple-element(%p), index=1
  %fusion.1 = f32[16,60]{1,0} fusion(%x.1), kind=kCustom, calls=%all-reduce-scatter.1, metadata={op_name="jit(step)/transpose(jvp())/flows_0/while/body/dot"}
  %start = (f32[3,60]{1,0}, f32[3,60]{1,0}, u32[], u32[]) collective-permute-start(%fusion.1), source_target_pairs={{0,1}}
  %done = f32[3,60]{1,0} collective-permute-done(%start)
  ROOT %t = (s32[], f32[64,60]{1,0}) tuple(%p, %x.1)
}

%condition (p: (s32[], f32[64,60])) -> pred[] {
  %p.1 = (s32[], f32[64,60]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %bound = s32[]{:T(128)} constant(48)
  ROOT %lt = pred[] compare(%i, %bound), direction=LT
}

ENTRY %main (x: bf16[8,15], y: f32[16,60]) -> f32[] {
  %x.2 = bf16[8,15]{1,0} parameter(0), metadata={op_name="state.params"}
  %y.2 = f32[16,60]{1,0} parameter(1)
  %loop = (s32[], f32[64,60]{1,0}) while(%tuple), condition=%condition, body=%body, metadata={op_name="jit(step)/transpose(jvp())/flows_0/while"}
  %gte = f32[64,60]{1,0} get-tuple-element(%loop), index=1
  %fusion.2 = bf16[8,60]{1,0} fusion(%x.2), kind=kCustom, calls=%first
  %fusion.3 = bf16[8,60]{1,0} fusion(%x.2), kind=kCustom, calls=%second
  %gather = (f32[16,60]{1,0}, f32[64,60]{1,0}) all-gather-start(%y.2), channel_id=9, dimensions={0}
  %gathered = f32[64,60]{1,0} all-gather-done(%gather)
  %scatter = f32[16,60]{1,0} reduce-scatter(%gathered), channel_id=10, dimensions={0}, to_apply=%sum
  ROOT %reduced = (f32[]{:T(128)}, f32[64,60]{1,0}) all-reduce(%value, %gte), channel_id=11, to_apply=%sum
}
"""  # noqa: E501


def test_collectives_of_a_tpu_program():
    found = {(c.kind, c.bytes, c.loops, c.times) for c in find_collectives(TPU)}
    assert found == {
        ("reduce-scatter", 64 * 60 * 4, 1, 48),  # an all-reduce of which a part is kept, in a loop
        ("collective-permute", 3 * 60 * 4, 1, 48),
        ("all-gather", 8 * 60 * 2, 0, 1),  # a chain of two pieces counts once
        ("all-gather", 64 * 60 * 4, 0, 1),
        ("reduce-scatter", 64 * 60 * 4, 0, 1),
        ("all-reduce", 64 * 60 * 4 + 4, 0, 1),
    }


def test_sources_are_those_of_operands_and_callers():
    by_kind = {(c.kind, c.loops): c for c in find_collectives(TPU)}
    assert by_kind["all-reduce", 0].sources == ("jit(step)/transpose(jvp())/flows_0/while",)
    assert by_kind["reduce-scatter", 1].sources == ("jit(step)/transpose(jvp())/flows_0/while/body/dot",)


def test_bytes_of_shapes():
    assert shape_bytes("pred[3]{0}") == 3
    assert shape_bytes("(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, s32[])") == 16
    assert shape_bytes("f8e4m3fn[16]") == 16
    assert shape_bytes("token[]") == 0


PROGRAM = """
import json, jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from benchmarks.hlo import find_collectives

mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,))
rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

def loss(weights, x):
    return jnp.square(jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), None), x, weights)[0]).mean()

step = jax.jit(jax.grad(loss), in_shardings=(whole, rows), out_shardings=whole)
gather = jax.jit(lambda x: x, in_shardings=rows, out_shardings=whole)
shapes = jax.ShapeDtypeStruct((6, 16, 16), jnp.float32), jax.ShapeDtypeStruct((32, 16), jnp.float32)
texts = step.lower(*shapes).compile().as_text(), gather.lower(shapes[1]).compile().as_text()
print(json.dumps([[c._asdict() for c in find_collectives(text)] for text in texts]))
"""


def test_collectives_of_a_real_program():
    root = Path(__file__).parents[2]
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(root),
        "PATH": "",
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    step, gather = json.loads(run.stdout)
    assert {c["kind"] for c in step} == {"all-reduce"}
    assert sum(c["bytes"] * c["times"] for c in step) == 6 * 16 * 16 * 4  # the gradient, once
    assert [(c["kind"], c["bytes"]) for c in gather] == [("all-gather", 32 * 16 * 4)]


def compiled_text(function, *args):
    return jax.jit(function).lower(*args).compile().as_text()


def test_dense_algebra_is_found_only_inside_loops():
    matrices = jax.ShapeDtypeStruct((5, 8, 8), jnp.float32)

    def hoisted(w):
        return jax.lax.scan(lambda c, inverse: (c @ inverse, None), jnp.eye(8), jnp.linalg.inv(w))[0]

    def nested(w):
        return jax.lax.scan(lambda c, w: (c @ jnp.linalg.inv(w), None), jnp.eye(8), w)[0]

    def determinants(w):
        return jax.lax.scan(lambda c, w: (c + jnp.linalg.slogdet(w)[1], None), 0.0, w)[0]

    assert dense_algebra_in_loops(compiled_text(hoisted, matrices)) == []
    assert dense_algebra_in_loops(compiled_text(nested, matrices))
    assert dense_algebra_in_loops(compiled_text(determinants, matrices))
