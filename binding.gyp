{
  # Two addons: `hearth`, the runtime, which only the runner process loads, and `sd_notify`, one system call that Node
  # does not have. Every instruction set is a static library of its own: gyp has no flags for a single file, and a kernel
  # file must not lend its flags to anything else. Sources come from the shell, so that no list of them is kept twice.
  "target_defaults": {
    "include_dirs": ["."],
    "cflags!": ["-fno-omit-frame-pointer"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-rtti", "-O3"],
    # Not -ffast-math, not -march=native, no contraction: results depend on the chosen kernels and on nothing else.
    "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra", "-fno-exceptions", "-ffp-contract=off", "-fvisibility=hidden"],
  },
  "targets": [
    {
      "target_name": "kernels_scalar",
      "type": "static_library",
      "sources": ["addon/kernels/scalar.cc", "addon/kernels/dispatch.cc"],
    },
    {
      "target_name": "hearth_core",
      "type": "static_library",
      "sources": ["<!@(ls addon/*.cc addon/base/*.cc addon/gguf/*.cc addon/ops/*.cc addon/model/*.cc addon/input/*.cc addon/text/*.cc)"],
    },
    {
      "target_name": "hearth",
      "sources": ["<!@(ls addon/napi/*.cc | grep -v sd_notify)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "dependencies": ["hearth_core", "kernels_scalar"],
      "conditions": [
        ["target_arch=='x64'", {"dependencies": ["kernels_x86_avx2", "kernels_x86_avx512vnni"]}],
        ["target_arch=='arm64'", {"dependencies": ["kernels_arm_neon_dotprod", "kernels_arm_neon_i8mm"]}],
      ],
    },
    {
      "target_name": "sd_notify",
      "sources": ["addon/napi/sd_notify.cc"],
      "defines": ["NAPI_VERSION=8"],
    },
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_x86_avx2",
          "type": "static_library",
          "sources": ["addon/kernels/x86_avx2.cc"],
          "cflags_cc": ["-mavx2", "-mfma", "-mf16c"],
        },
        {
          "target_name": "kernels_x86_avx512vnni",
          "type": "static_library",
          "sources": ["addon/kernels/x86_avx512vnni.cc"],
          "cflags_cc": [
            "-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni",
            # GCC 12 takes the undefined vectors of its own headers for mistakes.
            "-Wno-uninitialized", "-Wno-maybe-uninitialized",
          ],
        },
      ],
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_arm_neon_dotprod",
          "type": "static_library",
          "sources": ["addon/kernels/arm_neon_dotprod.cc"],
          "cflags_cc": ["-march=armv8.2-a+dotprod+fp16"],
        },
        {
          "target_name": "kernels_arm_neon_i8mm",
          "type": "static_library",
          "sources": ["addon/kernels/arm_neon_i8mm.cc"],
          "cflags_cc": ["-march=armv8.2-a+dotprod+fp16+i8mm"],
        },
      ],
    }],
  ],
}
