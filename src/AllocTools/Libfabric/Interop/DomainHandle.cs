using System.Runtime.InteropServices;
using AllocTools.Interop;

namespace AllocTools.Libfabric.Interop;

/// <summary>A domain, with which memory is registered and on which queues and endpoints are opened. fi_domain(3).</summary>
internal sealed unsafe class DomainHandle : FidHandle
{
    // fi_mr_attr had grown from 80 to 112 bytes by 2.x; fields that are unknown here read as zero.
    private const int MrAttrRoom = 512;

    public DomainHandle(fid_domain* domain, FabricHandle fabric)
        : base(domain, fabric)
    {
    }

    public fid_domain* Pointer => (fid_domain*)handle;

    /// <summary>fi_av(3).</summary>
    public int OpenAv(fi_av_attr* attr, out AvHandle? vector)
    {
        using FidLease self = new(this);
        fi_ops_domain* ops = Pointer->ops;
        fid_av* opened = null;
        int status = ops != null && FiOps.Has(ops, &ops->av_open)
            ? CheckOpened(ops->av_open(Pointer, attr, &opened, null), opened)
            : -FiErrno.FI_ENOSYS;
        vector = status == 0 ? new AvHandle(opened, this) : null;
        return status;
    }

    /// <summary>fi_cq(3).</summary>
    public int OpenCq(fi_cq_attr* attr, out CqHandle? queue)
    {
        using FidLease self = new(this);
        fi_ops_domain* ops = Pointer->ops;
        fid_cq* opened = null;
        int status = ops != null && FiOps.Has(ops, &ops->cq_open)
            ? CheckOpened(ops->cq_open(Pointer, attr, &opened, null), opened)
            : -FiErrno.FI_ENOSYS;
        queue = status == 0 ? new CqHandle(opened, this) : null;
        return status;
    }

    /// <summary>fi_endpoint(3).</summary>
    public int OpenEndpoint(fi_info* info, out EndpointHandle? endpoint)
    {
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        using FidLease self = new(this);
        fi_ops_domain* ops = Pointer->ops;
        fid_ep* opened = null;
        int status = ops != null && FiOps.Has(ops, &ops->endpoint)
            ? CheckOpened(ops->endpoint(Pointer, info, &opened, null), opened)
            : -FiErrno.FI_ENOSYS;
        endpoint = status == 0 ? new EndpointHandle(opened, this) : null;
        return status;
    }

    /// <summary>Registers the memory that the attributes describe, which must stay mapped until the registration is closed. fi_mr(3).</summary>
    public int RegisterMemory(fi_mr_attr* attr, ulong flags, out MrHandle? registration)
    {
        using FidLease self = new(this);
        fi_ops_mr* ops = Pointer->mr;
        byte* room = stackalloc byte[MrAttrRoom];
        NativeMemory.Clear(room, MrAttrRoom);
        *(fi_mr_attr*)room = *attr;
        fid_mr* opened = null;
        int status = ops != null && FiOps.Has(ops, &ops->regattr)
            ? CheckOpened(ops->regattr(Fid, (fi_mr_attr*)room, flags, &opened), opened)
            : -FiErrno.FI_ENOSYS;
        registration = status == 0 ? new MrHandle(opened, this) : null;
        return status;
    }

    /// <summary>Makes a key that operations can use from a peer's raw key (FI_MR_RAW). fi_mr(3).</summary>
    /// <param name="baseAddress">The address that <see cref="MrHandle.GetRawAttributes"/> returned at the peer.</param>
    /// <param name="rawKey">The raw key that it returned there.</param>
    /// <param name="key">The key for operations, valid until <see cref="UnmapKey"/>.</param>
    public int MapRaw(ulong baseAddress, ReadOnlySpan<byte> rawKey, out ulong key)
    {
        ulong mapped = FiConstants.FI_KEY_NOTAVAIL;
        int status;
        fixed (byte* bytes = rawKey)
        {
            fi_mr_map_raw map = new()
            {
                base_addr = baseAddress,
                raw_key = bytes,
                key_size = (nuint)rawKey.Length,
                key = &mapped,
            };
            status = ControlCore(FiCommand.FI_MAP_RAW_MR, &map);
        }

        key = mapped;
        return status;
    }

    /// <summary>Releases a key from <see cref="MapRaw"/>. fi_mr(3).</summary>
    public int UnmapKey(ulong key) => ControlCore(FiCommand.FI_UNMAP_KEY, &key);
}
