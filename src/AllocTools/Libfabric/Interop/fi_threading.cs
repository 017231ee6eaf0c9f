namespace AllocTools.Libfabric.Interop;

/// <summary>Which calls the application must serialize. fi_domain(3).</summary>
internal enum fi_threading
{
    FI_THREAD_UNSPEC = 0,
    FI_THREAD_SAFE = 1,
    FI_THREAD_FID = 2,
    FI_THREAD_DOMAIN = 3,
    FI_THREAD_COMPLETION = 4,
    FI_THREAD_ENDPOINT = 5,
}
