/* What gcc compiles in the benchmark guest: Debian's libstb-dev, a resampler for images in one file of 2600 lines. */
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb/stb_image_resize.h>
