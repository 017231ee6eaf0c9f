using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>
/// Notifications for transports whose writes don't support them: once the bytes have arrived, an empty message follows,
/// whose tag is the notification.
/// </summary>
/// <remarks>
/// They are used for providers without remote CQ data of 4 bytes, and for sockets of libfabric 1.17, which supports
/// such data but stalls: after 128 such writes to an endpoint nothing more completes there (NotificationTests, which
/// includes sockets and makes 10,000 writes, measures this). Tagged messages match only tagged receives, so they never
/// use a receive of the application.
/// </remarks>
internal sealed unsafe class TaggedNotifications
{
    /// <summary>The number of posted receives; further messages wait in the transport.</summary>
    public const int Receives = 64;

    private readonly EndpointHandle _endpoint;
    private readonly fi_context2* _contexts;
    private readonly bool[] _isDue = new bool[Receives];
    private bool _anyDue;

    /// <summary>Posts the receives. The endpoint stays open until <see cref="Free"/>.</summary>
    public TaggedNotifications(EndpointHandle endpoint)
    {
        _endpoint = endpoint;
        _contexts = (fi_context2*)NativeMemory.AlignedAlloc((nuint)(Receives * sizeof(fi_context2)), 64);
        NativeMemory.Clear(_contexts, (nuint)(Receives * sizeof(fi_context2)));
        _isDue.AsSpan().Fill(true);
        _anyDue = true;
    }

    /// <summary>Whether the provider needs notifications of this kind.</summary>
    public static bool AreNeeded(fi_info* info, string provider) => info->domain_attr->cq_data_size < sizeof(uint) || provider == "sockets";

    /// <summary>Whether a completion belongs to one of the receives, which must be posted again.</summary>
    public bool TryTake(in fi_cq_tagged_entry entry)
    {
        nint offset = (nint)entry.op_context - (nint)_contexts;
        if (offset < 0 || offset >= (nint)Receives * sizeof(fi_context2))
            return false;
        _isDue[offset / sizeof(fi_context2)] = _anyDue = true;
        return true;
    }

    /// <summary>Posts the receives that have ended. The caller must hold the progress turn.</summary>
    public void PostReceives()
    {
        if (!_anyDue)
            return;
        _anyDue = false;
        for (int i = 0; i < Receives; i++)
        {
            // A receive that the transport does not accept is tried again by the next progress turn.
            if (_isDue[i] && (_isDue[i] = _endpoint.ReceiveTag(&_contexts[i]) != 0))
                _anyDue = true;
        }
    }

    public nint Send(ulong number, ulong peer, void* context) => _endpoint.SendTag(peer, number, context);

    /// <summary>Frees the contexts, after the fabric is done with every receive.</summary>
    public void Free() => NativeMemory.AlignedFree(_contexts);
}
