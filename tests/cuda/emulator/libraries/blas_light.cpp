// cuBLASLt: only its version; all else is not supported.
#include <cublasLt.h>

extern "C" size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
