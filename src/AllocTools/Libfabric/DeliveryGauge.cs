using System.Runtime.InteropServices;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>
/// What an endpoint shows to those that send to it: how many receives of the application wait for a message. Also the
/// room for what peers answer.
/// </summary>
/// <remarks>
/// For transports that end a send before its bytes are with the peer (tcp;ofi_rxm), or keep what nobody receives without
/// limit (sockets, too). The word is registered for remote
/// reading, and the endpoint's address says where it is. Whoever reads it after a send, over the same connection, knows
/// two things: the peer has taken the message from the wire, since it serves both in order; and, where receives wait, that
/// no message waits for a receive, since one that did would have met it.
/// </remarks>
internal sealed unsafe class DeliveryGauge
{
    private readonly LibfabricContext _context;
    private readonly long* _answers;
    private readonly nint _page;
    private readonly IRmaRegistration? _registration;

    private DeliveryGauge(LibfabricContext context, int maxOutstanding)
    {
        _context = context;
        if ((context.GrantedAccess & RmaAccess.RemoteRead) != 0)
        {
            int error = SystemPages.Map((nuint)Environment.SystemPageSize, out _page);
            if (error != 0)
                throw new InsufficientMemoryException($"The system has no page of memory for an endpoint: {SystemPages.Describe(error)}.");
            try
            {
                _registration = context.Register(_page, Environment.SystemPageSize, RmaAccess.RemoteRead);
            }
            catch
            {
                _ = SystemPages.Unmap(_page, (nuint)Environment.SystemPageSize);
                throw;
            }
        }
        _answers = (long*)NativeMemory.AllocZeroed((nuint)maxOutstanding, sizeof(long));
    }

    /// <summary>Where peers read; null where the provider's Access does not let them.</summary>
    public (ulong Address, ulong Key)? Remote
    {
        get
        {
            if (_registration is null)
                return null;
            RemoteMemory memory = _registration.Describe(0, sizeof(long), RmaAccess.RemoteRead);
            return (memory.Address, memory.Key);
        }
    }

    /// <summary>Opens it where the transport needs it; null elsewhere.</summary>
    public static DeliveryGauge? TryOpen(LibfabricContext context, int maxOutstanding) =>
        context.Traits.SendsAreConfirmed || context.Traits.UnreceivedMessagesPileUp ? new DeliveryGauge(context, maxOutstanding) : null;

    /// <summary>Where the answer to an operation goes.</summary>
    public long* AnswerOf(int index) => &_answers[index];

    /// <summary>A receive is being posted.</summary>
    public void OnReceivePosted() => Add(1);

    /// <summary>A receive has ended, or was not taken.</summary>
    public void OnReceiveEnded() => Add(-1);

    private void Add(long change)
    {
        if (_page != 0)
            Interlocked.Add(ref *(long*)_page, change);
    }

    /// <summary>Peers can't read it any more. Where that fails the page stays; it never throws.</summary>
    /// <param name="fabricIsDone">No answer can come any more.</param>
    public void Close(bool fabricIsDone)
    {
        if (fabricIsDone)
            NativeMemory.Free(_answers);
        if (_registration is null)
            return;
        try
        {
            _context.Deregister(_registration);
        }
        catch (RmaException e)
        {
            Log.CloseFailed(_context.Health.Logger, "fi_close (registration of an endpoint's own)", e.ErrorName);
            return;
        }
        // Receives that are still counted end after this where a call of the transport has not returned.
        if (fabricIsDone)
            _ = SystemPages.Unmap(_page, (nuint)Environment.SystemPageSize);
    }
}
