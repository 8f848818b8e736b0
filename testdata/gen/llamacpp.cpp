// Runs llama.cpp's preparation of images for LLaVA-1.5 and its image encoder; llamacpp.py builds it.
//
//   llamacpp MMPROJ.gguf IMAGE WIDTH HEIGHT TOKENS PIXELS
//
// IMAGE holds RGB, a byte each, row after row. TOKENS becomes float32 [N,O], PIXELS float32 [S,S,3], normalised.

#include "clip.h"
#include "clip-impl.h"
#include "mtmd-image.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

static void write(const char * path, const std::vector<float> & x) {
    std::ofstream(path, std::ios::binary).write((const char *) x.data(), x.size() * sizeof(float));
}

int main(int argc, char ** argv) {
    if (argc != 7) return 2;
    clip_context_params params{};
    params.use_gpu = false;
    params.flash_attn_type = CLIP_FLASH_ATTN_TYPE_DISABLED; // whose keys and values are of half precision
    params.warmup = false;
    clip_ctx * ctx = clip_init(argv[1], params).ctx_v;
    if (!ctx) return 1;

    const int width = atoi(argv[3]), height = atoi(argv[4]);
    std::vector<uint8_t> rgb((size_t) width * height * 3);
    std::ifstream(argv[2], std::ios::binary).read((char *) rgb.data(), rgb.size());
    clip_image_u8 img;
    img.set_size({width, height}, false);
    img.cpy_buf(rgb);

    mtmd_image_preproc_out views = mtmd_image_preprocessor_fixed_size(ctx).preprocess(img);
    const clip_image_f32 & view = views.entries[0];
    write(argv[6], view.get_ro_buf());
    std::vector<float> tokens((size_t) clip_n_output_tokens(ctx, &view) * clip_n_mmproj_embd(ctx));
    if (!clip_image_encode(ctx, 2, &view, tokens)) return 1;
    write(argv[5], tokens);
}
