using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Notifications where writes can't bring their target a number: once the bytes are there, a message without bytes follows, whose tag is the number.</summary>
/// <remarks>
/// For providers without remote CQ data of 4 bytes, and for sockets of libfabric 1.17, which has it and stalls: after 128 such
/// writes to an endpoint nothing more completes there (measured by NotificationTests, which has sockets among its fabrics and writes 10,000). Messages with a tag meet
/// receives with a tag only, so they never take one of the application's.
/// </remarks>
internal sealed unsafe class TaggedNotifications
{
    /// <summary>How many receives wait; what comes meanwhile waits in the transport.</summary>
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

    /// <summary>The provider needs this.</summary>
    public static bool AreNeeded(fi_info* info, string provider) => info->domain_attr->cq_data_size < sizeof(uint) || provider == "sockets";

    /// <summary>A completion is of one of the receives, which is to be posted again.</summary>
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
            // One that the transport takes nothing of is tried again by the next turn.
            if (_isDue[i] && (_isDue[i] = _endpoint.ReceiveTag(&_contexts[i]) != 0))
                _anyDue = true;
        }
    }

    public nint Send(ulong number, ulong peer, void* context) => _endpoint.SendTag(peer, number, context);

    /// <summary>Frees the contexts, after the fabric is done with every receive.</summary>
    public void Free() => NativeMemory.AlignedFree(_contexts);
}
