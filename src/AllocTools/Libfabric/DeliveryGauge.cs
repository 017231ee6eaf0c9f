using System.Runtime.InteropServices;
using AllocTools.Diagnostics;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;

namespace AllocTools.Libfabric;

/// <summary>
/// The number of the application's receives that wait for a message, which an endpoint publishes to its senders; and
/// the memory for answers of peers.
/// </summary>
/// <remarks>
/// This is for transports that complete a send before its bytes have reached the peer (tcp;ofi_rxm), or that keep
/// unreceived messages without limit (also sockets). The word is registered for remote reading, and the endpoint's
/// address contains its location. A sender that reads it after a send, over the same connection, knows two things: the
/// peer has taken the message from the wire, because it serves both in order; and, if receives wait, that no message
/// waits for a receive, because such a message would have matched one.
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

    /// <summary>The memory that peers read; null if the provider's Access does not allow that.</summary>
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

    /// <summary>Opens the gauge if the transport needs it; otherwise null.</summary>
    public static DeliveryGauge? TryOpen(LibfabricContext context, int maxOutstanding) =>
        context.Traits.SendsAreConfirmed || context.Traits.UnreceivedMessagesPileUp ? new DeliveryGauge(context, maxOutstanding) : null;

    /// <summary>Returns the memory for the answer to an operation.</summary>
    public long* AnswerOf(int index) => &_answers[index];

    /// <summary>Called when a receive is being posted.</summary>
    public void OnReceivePosted() => Add(1);

    /// <summary>Called when a receive has ended, or was not accepted.</summary>
    public void OnReceiveEnded() => Add(-1);

    private void Add(long change)
    {
        if (_page != 0)
            Interlocked.Add(ref *(long*)_page, change);
    }

    /// <summary>Ends the access of peers. If that fails, the page stays registered; this never throws.</summary>
    /// <param name="fabricIsDone">Whether no more answers can arrive.</param>
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
        // If a call of the transport has not returned, receives that are still counted end after this.
        if (fabricIsDone)
            _ = SystemPages.Unmap(_page, (nuint)Environment.SystemPageSize);
    }
}
