/*
 * Random numbers for programs under Wine 8, which lacks this system library.
 *
 * Rust's standard library asks bcryptprimitives.dll for ProcessPrng; the older
 * SystemFunction036 (RtlGenRandom) of advapi32.dll gives the same.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(buffer, part))
            return FALSE;
        buffer += part;
        length -= part;
    }
    return TRUE;
}
