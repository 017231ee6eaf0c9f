using AllocTools.Interop;

namespace AllocTools.Libfabric.Interop;

/// <summary>An endpoint: setting it up. fi_endpoint(3).</summary>
/// <remarks>
/// The methods that post (in the other file of this class) take no reference, allocate nothing and look the table up at
/// each call, since a provider may swap tables when an endpoint is enabled. Their caller holds one reference
/// (<see cref="FidHandle.Acquire"/>) for as long as it may call them. They return 0, a negative errno, or
/// -FI_EAGAIN where the completion queue has to be read first; memory and context of an operation belong to libfabric
/// from 0 until its completion has been read or the endpoint closed.
/// </remarks>
internal sealed unsafe partial class EndpointHandle : FidHandle
{
    public EndpointHandle(fid_ep* endpoint, DomainHandle domain)
        : base(endpoint, domain)
    {
    }

    public fid_ep* Pointer => (fid_ep*)handle;

    /// <summary>Binds a queue (flags: FI_SEND, FI_RECV) or an address vector (0), which stays open until this is closed.</summary>
    public int Bind(FidHandle other, ulong flags) => BindCore(other, flags);

    /// <summary>Opens the endpoint for traffic, after all is bound.</summary>
    public int Enable()
    {
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        return ControlCore(FiCommand.FI_ENABLE, null);
    }

    /// <summary>The endpoint's own address, for peers. fi_cm(3).</summary>
    /// <param name="address">Takes the address.</param>
    /// <param name="length">How many bytes it has; where the status is -FI_ETOOSMALL, how many are needed.</param>
    public int GetName(Span<byte> address, out nuint length)
    {
        using FidLease self = new(this);
        fi_ops_cm* ops = Pointer->cm;
        nuint size = (nuint)address.Length;
        int status;
        fixed (byte* bytes = address)
            status = ops != null && FiOps.Has(ops, &ops->getname) ? ops->getname(Fid, bytes, &size) : -FiErrno.FI_ENOSYS;
        length = size;
        return status;
    }
}
