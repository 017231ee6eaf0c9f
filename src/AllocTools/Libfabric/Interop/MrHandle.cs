namespace AllocTools.Libfabric.Interop;

/// <summary>A memory registration. fi_mr(3).</summary>
internal sealed unsafe class MrHandle : FidHandle
{
    public MrHandle(fid_mr* registration, DomainHandle domain)
        : base(registration, domain)
    {
    }

    public fid_mr* Pointer => (fid_mr*)handle;

    /// <summary>The local descriptor that operations pass (fi_mr_desc); it may be null if FI_MR_LOCAL is not required.</summary>
    public void* Descriptor
    {
        get
        {
            using FidLease self = new(this);
            return Pointer->mem_desc;
        }
    }

    /// <summary>
    /// The key for peers (fi_mr_key); FI_KEY_NOTAVAIL if it can't be exported, or must be read as a raw key. With
    /// FI_MR_ENDPOINT it is valid only after <see cref="Enable"/>.
    /// </summary>
    public ulong Key
    {
        get
        {
            using FidLease self = new(this);
            return Pointer->key;
        }
    }

    /// <summary>Gets the raw key for peers (FI_MR_RAW).</summary>
    /// <param name="baseAddress">The address for the peer's <see cref="DomainHandle.MapRaw"/>.</param>
    /// <param name="rawKey">Receives the key.</param>
    /// <param name="keySize">The length of the key in bytes; if the status is -FI_ETOOSMALL, the length that is
    /// needed.</param>
    public int GetRawAttributes(out ulong baseAddress, Span<byte> rawKey, out nuint keySize)
    {
        ulong address = 0;
        nuint size = (nuint)rawKey.Length;
        int status;
        fixed (byte* bytes = rawKey)
        {
            fi_mr_raw_attr attr = new() { base_addr = &address, raw_key = bytes, key_size = &size };
            status = ControlCore(FiCommand.FI_GET_RAW_MR, &attr);
        }

        baseAddress = address;
        keySize = size;
        return status;
    }

    /// <summary>Binds to an endpoint (FI_MR_ENDPOINT), which stays open until the registration is closed.</summary>
    public int Bind(EndpointHandle endpoint) => BindCore(endpoint, 0);

    /// <summary>Makes a bound registration usable (fi_mr_enable).</summary>
    public int Enable() => ControlCore(FiCommand.FI_ENABLE, null);
}
