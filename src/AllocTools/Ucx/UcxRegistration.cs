using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>Memory that UCX has mapped (ucp_mem_map). Its key is packed when it is first needed for a peer.</summary>
internal sealed unsafe class UcxRegistration(UcxContext context, nint memory, nint address, long length) : IRmaRegistration
{
    private readonly Lock _gate = new();
    private byte[]? _key;
    private bool _hasEnded;

    public UcxContext Context => context;

    public long Length => length;

    /// <summary>The memory handle (ucp_mem_h).</summary>
    public nint LocalDescriptor => memory;

    /// <returns>False if the registration has already ended.</returns>
    public bool TryEnd()
    {
        lock (_gate)
            return !_hasEnded && (_hasEnded = true);
    }

    public RemoteMemory Describe(long offset, long partLength, RmaAccess access)
    {
        RangeCheck.ThrowIfOutside(offset, partLength, length);
        byte[] key;
        lock (_gate)
        {
            if (_hasEnded)
                throw new InvalidOperationException("The memory is no longer registered.");
            key = _key ??= Pack();
        }
        return new RemoteMemory((ulong)(address + offset), partLength, key, (ulong)address, access).Of(context.Description);
    }

    private byte[] Pack()
    {
        void* packed;
        nuint size;
        sbyte status;
        byte[]? key = null;
        using (new UcxCall(context.Calls))
        {
            status = context.Library.Exports.ucp_rkey_pack(context.Handle, (void*)memory, &packed, &size);
            if (status == UcsStatus.UCS_OK)
            {
                if (size <= RemoteMemory.MaxKeyLength)
                    key = new ReadOnlySpan<byte>(packed, (int)size).ToArray();
                context.Library.Exports.ucp_rkey_buffer_release(packed);
            }
        }
        if (status != UcsStatus.UCS_OK)
            throw UcxErrors.Provider(context.Library, "ucp_rkey_pack", status);
        return key ?? throw new NotSupportedException($"The key of memory on provider '{UcxContext.ProviderName}' has {size} bytes; it must have at most {RemoteMemory.MaxKeyLength}. Name fewer Devices.");
    }
}
