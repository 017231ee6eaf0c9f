namespace AllocTools.Libfabric.Interop;

/// <summary>
/// Keeps a handle open for a scope. Throws <see cref="ObjectDisposedException"/> where it has been disposed already.
/// </summary>
internal readonly ref struct FidLease
{
    private readonly FidHandle _handle;

    public FidLease(FidHandle handle)
    {
        handle.Acquire();
        _handle = handle;
    }

    public void Dispose() => _handle.DangerousRelease();
}
