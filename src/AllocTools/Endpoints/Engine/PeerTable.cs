using AllocTools.Diagnostics;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Drivers;
using AllocTools.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Endpoints.Engine;

/// <summary>The peers that an endpoint may work with.</summary>
/// <remarks>
/// Transports reuse the numbers of peers, so a peer is an object that holds the transport's number. Most transports
/// return the existing number for an address that is already inserted. A peer is therefore inserted there once, and
/// insertions are counted here. A peer that is removed while an operation uses it stays in the transport until a later
/// insertion or removal finds that the operation has ended, or until the address is inserted again. A lost peer stays
/// in the table until it is removed or inserted again; the latter also removes and inserts it in the transport, so that
/// nothing of its connection remains.
/// </remarks>
internal sealed class PeerTable(RmaEndpointDriver driver, TransportDescription own, PeerStates states, ILogger logger)
{
    private const int InvalidArgument = 22;

    /// <summary>While fewer peers are left behind, each insertion and removal checks whether they can be released.</summary>
    private const int FewLeft = 64;

    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, RmaDriverPeer> _peers = [];
    private readonly Dictionary<string, RmaDriverPeer> _byAddress = [];
    private readonly Dictionary<string, ulong> _left = [];

    // Addresses of peers that were lost when they were removed.
    private readonly GoneAddresses _gone = new();

    // Removed peers that an operation may still use.
    private readonly List<RmaDriverPeer> _closing = [];

    // The number of insertions and removals before the next check for peers that can be released.
    private int _untilNextLook;

    // Removed peers that an operation used at the last check, and their numbers.
    private readonly HashSet<RmaDriverPeer> _usedPeers = [];
    private readonly HashSet<ulong> _usedNumbers = [];

    /// <summary>Inserts a peer, or increments the count of an existing one.</summary>
    /// <param name="address">The peer endpoint's address.</param>
    /// <param name="slots">The endpoint's operations.</param>
    /// <param name="isBack">Whether a peer at this address was lost before, so that this one is reported as its return.</param>
    public RmaDriverPeer Insert(ReadOnlySpan<byte> address, ReadOnlySpan<OperationSlot> slots, out bool isBack)
    {
        isBack = false;
        ReadOnlySpan<byte> whole = address;
        address = EndpointAddress.Parse(whole, out TransportDescription? transport, out string? error);
        error ??= transport is null ? null : own.FindReasonAgainst(transport);
        if (error is not null)
        {
            throw new RmaProviderException(
                $"The peer's address of {whole.Length} bytes can't be used with provider '{own.Provider}': {error}. Both sides need the same provider; pass the peer endpoint's Address as it is.",
                InvalidArgument,
                driver.NameOf(InvalidArgument));
        }
        RmaDriverPeer opened = driver.OpenPeer(address, transport);
        opened.Transport = transport;
        bool isKept = false;
        string text = Convert.ToHexString(address);
        _gate.Enter();
        try
        {
            if (_byAddress.TryGetValue(text, out RmaDriverPeer? there) && there.IsLost)
                Forget_NeedsLock(text, there, slots);
            ulong number;
            if (_byAddress.TryGetValue(text, out there))
            {
                number = there.Number;
            }
            else
            {
                LetGoOfLeft_NeedsLock(slots);
                if (!_left.Remove(text, out number))
                    number = driver.InsertPeer(opened);
            }
            // Some transports return the same number for addresses that are spelt differently.
            if (_peers.TryGetValue(number, out there) && there.IsLost)
            {
                string other = Convert.ToHexString(there.Address.Span);
                Forget_NeedsLock(other, there, slots);
                _gone.Rename(other, text);
                number = driver.InsertPeer(opened);
            }
            if (_peers.TryGetValue(number, out there))
            {
                there.Insertions++;
                there.Transport = transport;
                there.OnInsertedAgain(opened);
                return there;
            }
            foreach ((string left, _) in _left.Where(l => l.Value == number).ToArray())
                _left.Remove(left);
            opened.Number = number;
            _peers[number] = _byAddress[text] = opened;
            driver.OnPeerInserted(opened);
            isKept = true;
            isBack = states.Add(opened, wasLost: _gone.Remove(text));
            return opened;
        }
        finally
        {
            _gate.Exit();
            if (!isKept)
                opened.Close();
        }
    }

    /// <param name="peer">The peer.</param>
    /// <param name="isFinished">Whether <see cref="RmaDriverPeer.Finish"/> was called for this insertion.</param>
    /// <param name="slots">The endpoint's operations.</param>
    /// <exception cref="ArgumentException">The peer was already removed as often as it was inserted.</exception>
    public void Remove(RmaDriverPeer peer, bool isFinished, ReadOnlySpan<OperationSlot> slots)
    {
        lock (_gate)
        {
            if (peer.Insertions == 0)
                throw EndpointErrors.Removed(peer.Number, own.Provider ?? "", nameof(peer));
            if (isFinished)
                peer.ForgetFinished();
            if (--peer.Insertions > 0 || peer.IsRemoved)
                return;
            Forget_NeedsLock(Convert.ToHexString(peer.Address.Span), peer, slots);
        }
    }

    /// <summary>
    /// Whether no operations with a peer are or will be outstanding, so that its end is not a fault. Any thread may
    /// call this, under any lock.
    /// </summary>
    public static bool MayGo(RmaDriverPeer peer, ReadOnlySpan<OperationSlot> slots) => peer.IsFinished && !IsUsed(peer, slots);

    /// <summary>Releases the resources of the peers. No more peers are inserted.</summary>
    public void Close()
    {
        lock (_gate)
        {
            foreach (RmaDriverPeer peer in _peers.Values.Concat(_closing))
                peer.Close();
        }
    }

    /// <summary>
    /// Whether an operation with a peer is running, or has timed out and may still run. The fabric no longer uses an
    /// operation that has ended, although its slot may not be free yet.
    /// </summary>
    private static bool IsUsed(ulong number, ReadOnlySpan<OperationSlot> slots)
    {
        foreach (OperationSlot slot in slots)
        {
            if (MayRun(slot) && slot.Peer?.Number == number)
                return true;
        }
        return false;
    }

    private static bool IsUsed(RmaDriverPeer peer, ReadOnlySpan<OperationSlot> slots)
    {
        foreach (OperationSlot slot in slots)
        {
            if (MayRun(slot) && slot.Peer == peer)
                return true;
        }
        return false;
    }

    private static bool MayRun(OperationSlot slot) => slot.State is not (OperationState.Free or OperationState.Ended);

    /// <summary>Removes a peer. If one of its operations is still running, the transport keeps the peer.</summary>
    private void Forget_NeedsLock(string text, RmaDriverPeer peer, ReadOnlySpan<OperationSlot> slots)
    {
        _byAddress.Remove(text);
        _peers.Remove(peer.Number);
        // Transports crash on operations with a peer that was removed. So new operations are refused first, and then
        // running ones are looked for; an operation does both in the reverse order, with a fence in between.
        if (states.Remove(peer))
            _gone.Add(text);
        driver.OnPeerRemoved(peer);
        Fence.Full();
        LetGoOfLeft_NeedsLock(slots);
        bool isUsed = IsUsed(peer.Number, slots);
        if (isUsed)
            _closing.Add(peer);
        else
            peer.Close();
        if (isUsed || !TryForget(peer.Number))
            _left[text] = peer.Number;
    }

    /// <summary>
    /// Removes peers whose operations have ended from the transport, and closes them. If the transport refuses, the removal
    /// is retried later. All slots are checked in one pass, however many peers are left; if many are, not on each call.
    /// </summary>
    private void LetGoOfLeft_NeedsLock(ReadOnlySpan<OperationSlot> slots)
    {
        if ((_closing.Count == 0 && _left.Count == 0) || _untilNextLook-- > 0)
            return;
        _usedPeers.Clear();
        _usedNumbers.Clear();
        foreach (OperationSlot slot in slots)
        {
            if (MayRun(slot) && slot.Peer is { IsRemoved: true } peer && _usedPeers.Add(peer))
                _usedNumbers.Add(peer.Number);
        }
        for (int i = _closing.Count - 1; i >= 0; i--)
        {
            if (_usedPeers.Contains(_closing[i]))
                continue;
            _closing[i].Close();
            _closing.RemoveAt(i);
        }
        foreach ((string address, ulong number) in _left)
        {
            // A dictionary allows removals while it is enumerated.
            if (!_usedNumbers.Contains(number) && TryForget(number))
                _left.Remove(address);
        }
        _untilNextLook = (_closing.Count + _left.Count) / FewLeft;
    }

    /// <summary>Removes a peer from the transport; false if the transport still has it, or threw.</summary>
    private bool TryForget(ulong number)
    {
        try
        {
            return driver.TryRemovePeer(number);
        }
        catch (RmaException e)
        {
            // For this side, the peer is removed in any case.
            Log.PeerNotForgotten(logger, own.Provider ?? "", e.ErrorName);
            return false;
        }
    }

    /// <summary>Keeps a limited number of addresses, and forgets the oldest ones first.</summary>
    private sealed class GoneAddresses
    {
        private const int Most = 1024;

        private readonly HashSet<string> _addresses = [];
        private readonly Queue<string> _order = [];

        public void Add(string address)
        {
            if (!_addresses.Add(address))
                return;
            _order.Enqueue(address);
            while (_order.Count > Most)
                _addresses.Remove(_order.Dequeue());
        }

        public bool Remove(string address) => _addresses.Remove(address);

        public void Rename(string address, string other)
        {
            if (Remove(address))
                Add(other);
        }
    }
}

/// <summary>Why a peer is lost.</summary>
/// <param name="Reason">How the loss was detected, as text.</param>
/// <param name="Error">The transport's code.</param>
/// <param name="IsReported">Whether the loss is logged, counted and reported: false if nobody needs the peer any more.</param>
internal sealed record PeerLoss(string Reason, int Error, bool IsReported = true);
