using AllocTools.Validation;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>All log messages of the core, with stable event ids. They never contain an address or a key.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "Pool '{Pool}' is warm: {Registered} are registered with provider '{Provider}' (registrations: {Registrations}).")]
    public static partial void WarmedUp(ILogger logger, string pool, ByteCount registered, long registrations, string provider);

    [LoggerMessage(2, LogLevel.Warning, "Pool '{Pool}' was closed with buffers still rented ({Buffers}); {Bytes} stay registered until they are returned.")]
    public static partial void ClosedWithBuffersOut(ILogger logger, string pool, long buffers, ByteCount bytes);

    [LoggerMessage(3, LogLevel.Error, "Pool '{Pool}' could not deregister {Length}; they stay mapped.")]
    public static partial void DeregistrationFailed(ILogger logger, string pool, ByteCount length, Exception exception);

    [LoggerMessage(4, LogLevel.Warning, "Pool '{Pool}': provider '{Provider}' does not enforce remote access. Any process that can reach this endpoint can read and write this process's memory; use it among trusted processes only.")]
    public static partial void RemoteAccessNotEnforced(ILogger logger, string pool, string provider);

    [LoggerMessage(5, LogLevel.Warning, "Memory could not be locked and may be paged out: mlock of {Length} failed with {Error}; {Limit}. {HowToRaise}. This is logged once.")]
    public static partial void LockingFellShort(ILogger logger, ByteCount length, string error, string limit, string howToRaise);

    [LoggerMessage(6, LogLevel.Information, "Opened provider '{Provider}' on domain '{Domain}' (libfabric {Version}): {Addressing} addressing, {KeySize}-byte keys.")]
    public static partial void LibfabricOpened(ILogger logger, string provider, string domain, string version, string addressing, int keySize);

    [LoggerMessage(7, LogLevel.Warning, "libfabric's setting {Name}={Value} comes too late: fi_getinfo has already run in this process. Set it in the environment.")]
    public static partial void LibfabricSettingTooLate(ILogger logger, string name, string value);

    [LoggerMessage(8, LogLevel.Error, "Closing {What} failed with {Error}; the objects that it depends on stay open.")]
    public static partial void CloseFailed(ILogger logger, string what, string error);

    [LoggerMessage(9, LogLevel.Error, "The progress loop of an endpoint on provider '{Provider}' ended with an error; its operations fail.")]
    public static partial void ProgressFailed(ILogger logger, string provider, Exception exception);

    [LoggerMessage(10, LogLevel.Debug, "libfabric's setting {Name} is set in the environment already; the option's value {Value} is not used.")]
    public static partial void LibfabricSettingKept(ILogger logger, string name, string value);

    [LoggerMessage(11, LogLevel.Error, "A call into provider '{Provider}' has not returned for {Milliseconds} ms: {Reasons}, or the machine is busy. Operations time out without it.")]
    public static partial void ProgressStuck(ILogger logger, string provider, double milliseconds, string reasons);

    [LoggerMessage(12, LogLevel.Error, "An endpoint of provider '{Provider}' can't be closed: a call into it does not return. Its buffers and native objects stay as they are until it does.")]
    public static partial void EndpointStuck(ILogger logger, string provider);

    [LoggerMessage(13, LogLevel.Information, "Pool '{Pool}' is warming up: {Done} of {Total} registered.")]
    public static partial void WarmingUp(ILogger logger, string pool, ByteCount done, ByteCount total);

    [LoggerMessage(14, LogLevel.Error, "A buffer of {Length} of pool '{Pool}' was never returned, and nothing refers to it any more. It was rented by {Owner}:\n{Stack}")]
    public static partial void Leaked(ILogger logger, string pool, ByteCount length, string owner, string stack);

    [LoggerMessage(15, LogLevel.Warning, "Pool '{Pool}' was closed while a buffer of {Length} was rented. It was rented by {Owner}:\n{Stack}")]
    public static partial void StillOut(ILogger logger, string pool, ByteCount length, string owner, string stack);

    [LoggerMessage(16, LogLevel.Warning, "Pool '{Pool}' can't be sure to grow to its cap: {Reason}")]
    public static partial void CapOutOfReach(ILogger logger, string pool, string reason);

    [LoggerMessage(17, LogLevel.Warning, "An endpoint of provider '{Provider}' can no longer wait for completions: {Why}. It polls for them instead, at intervals of up to {Milliseconds} ms.")]
    public static partial void WaitingFailed(ILogger logger, string provider, string why, double milliseconds);

    [LoggerMessage(18, LogLevel.Error, "A listener to the meters or spans threw an exception. The measured work is not affected. This is logged once.")]
    public static partial void ListenerFailed(ILogger logger, Exception exception);

    [LoggerMessage(19, LogLevel.Information, "Pool '{Pool}' waits for buffers that are still rented, {Limit}: {Buffers}, rented by {Owners}.")]
    public static partial void Draining(ILogger logger, string pool, string limit, long buffers, string owners);

    [LoggerMessage(30, LogLevel.Warning, "A buffer of {Length} of pool '{Pool}', rented by {Owner}, was disposed while operations or exposures held it ({Holds}). It comes back when the last of them ends. So far: {Count}.")]
    public static partial void ReturnDeferred(ILogger logger, ByteCount length, string pool, string owner, int holds, long count);

    [LoggerMessage(31, LogLevel.Warning, "A buffer of {Length}, rented by {Owner}, was returned after its pool '{Pool}' was disposed. Its memory is released nevertheless; return buffers before DrainTimeout ends. So far: {Count}.")]
    public static partial void ReturnedLate(ILogger logger, ByteCount length, string pool, string owner, long count);

    [LoggerMessage(32, LogLevel.Error, "Pool '{Pool}' could not unmap {Length}; they stay mapped and count against the cap. {Stranded} could not be given back so far.")]
    public static partial void UnmapFailed(ILogger logger, string pool, ByteCount length, ByteCount stranded, Exception exception);

    [LoggerMessage(33, LogLevel.Error, "Pool '{Pool}' failed at {What} with an unexpected error. The pool continues.")]
    public static partial void UnexpectedError(ILogger logger, string pool, string what, Exception exception);

    [LoggerMessage(34, LogLevel.Error, "A socket was given the memory of a buffer of {Length} of pool '{Pool}' that was returned since. Its operation fails with 'Bad address' (EFAULT). Return a buffer after the operations that use it.")]
    public static partial void SocketUsesReturned(ILogger logger, ByteCount length, string pool);

    [LoggerMessage(35, LogLevel.Error, "An endpoint of provider '{Provider}' failed at {What} with an unexpected error. The process continues; health checks report it.")]
    public static partial void UnexpectedEndpointError(ILogger logger, string provider, string what, Exception exception);

    [LoggerMessage(40, LogLevel.Warning, "Provider '{Provider}' refused to remove a peer: fi_av_remove failed with {Error}. Nothing can be started with that peer any more; the transport may keep its address until the endpoint is closed. This is logged once per endpoint.")]
    public static partial void PeerNotForgotten(ILogger logger, string provider, string error);

    [LoggerMessage(41, LogLevel.Warning, "An endpoint of provider '{Provider}' has no room for messages that are longer than their receives: {Length} of address space could not be reserved, {Error}. Such a message may hang the transport; lower Provider:Endpoint:MaxMessageLength.")]
    public static partial void NoReceiveOverflow(ILogger logger, string provider, ByteCount length, string error);

    [LoggerMessage(42, LogLevel.Warning, "An endpoint of provider '{Provider}' (libfabric {Version}) listens beyond the loopback address. Whoever reaches its port can overwrite memory of this process without a key, because the provider does not check a count in the header that a peer sends. Let only trusted hosts reach the port, by Node or a firewall, or {Advice}. This is logged once per endpoint.")]
    public static partial void PortIsOpen(ILogger logger, string provider, Version version, string advice);

    [LoggerMessage(50, LogLevel.Warning, "Peer {Peer} of an endpoint on provider '{Provider}' is lost: {Reason}. Operations to it fail at once until it is inserted again.")]
    public static partial void PeerLost(ILogger logger, string provider, ulong peer, string reason);

    [LoggerMessage(51, LogLevel.Information, "Removed files of ended processes from /dev/shm: {Count}.")]
    public static partial void SharedMemoryRemoved(ILogger logger, int count);

    [LoggerMessage(52, LogLevel.Warning, "Peer {Peer} of an endpoint on provider '{Provider}' does not answer, which holds up the completions of all peers there. Other peers are served by another native endpoint from now on.")]
    public static partial void PeerHoldsUp(ILogger logger, string provider, ulong peer);

    [LoggerMessage(53, LogLevel.Error, "Peer {Peer} holds up an endpoint of provider '{Provider}', and no further native endpoint can be opened; there are {Lanes}. Operations to all peers time out until it answers.")]
    public static partial void NoLane(ILogger logger, string provider, ulong? peer, int lanes, Exception? exception);

    [LoggerMessage(54, LogLevel.Warning, "An endpoint of provider '{Provider}' loses notifications of peers' writes: {Room} have not been read. The next read reports how many.")]
    public static partial void NotificationsLost(ILogger logger, string provider, int room);

    [LoggerMessage(55, LogLevel.Error, "Code after an await has not returned for {Milliseconds} ms on the thread of an endpoint of provider '{Provider}' (Continuations = Inline). The endpoint makes no progress meanwhile, and its operations time out. Such code must not block: no Wait, no Result, no long work.")]
    public static partial void ContinuationStuck(ILogger logger, string provider, double milliseconds);

    [LoggerMessage(56, LogLevel.Information, "Peer {Peer} of an endpoint on provider '{Provider}' is back: it was inserted again after it was lost.")]
    public static partial void PeerReturned(ILogger logger, string provider, ulong peer);

    [LoggerMessage(57, LogLevel.Warning, "Peer {Peer} of an endpoint on provider '{Provider}' is slow: {Reason}. The limit is Provider:Endpoint:SlowPeerTime.")]
    public static partial void PeerSlow(ILogger logger, string provider, ulong peer, string reason);

    [LoggerMessage(58, LogLevel.Information, "Peer {Peer} of an endpoint on provider '{Provider}' is no longer slow: none of its operations is overdue any more.")]
    public static partial void PeerNoLongerSlow(ILogger logger, string provider, ulong peer);

    [LoggerMessage(60, LogLevel.Information, "Opened provider '{Provider}' (UCX {Version}) on {Transports}.")]
    public static partial void UcxOpened(ILogger logger, string provider, string version, string transports);

    [LoggerMessage(61, LogLevel.Debug, "UCX's setting {Name} is set in the environment already; the option's value {Value} is not used.")]
    public static partial void UcxSettingKept(ILogger logger, string name, string value);

    [LoggerMessage(62, LogLevel.Warning, "UCX's setting {Name}={Value} comes too late: UCX was already loaded in this process. Set it in the environment.")]
    public static partial void UcxSettingTooLate(ILogger logger, string name, string value);

    [LoggerMessage(63, LogLevel.Warning, "UCX continues without some of its network devices: {Setting}, but {Missing} can't be used. It can use {There}. Correct Provider:Devices, or UCX_NET_DEVICES.")]
    public static partial void UcxDevicesMissing(ILogger logger, string setting, string missing, string there);

    [LoggerMessage(64, LogLevel.Warning, "Rail '{Rail}' of multi-rail '{Name}' to a peer is down: {Reason} Its stripes go over the other rails, and it is tried again later.")]
    public static partial void RailDown(ILogger logger, string name, string rail, string reason);

    [LoggerMessage(65, LogLevel.Information, "Rail '{Rail}' of multi-rail '{Name}' to a peer is up again.")]
    public static partial void RailUp(ILogger logger, string name, string rail);

    [LoggerMessage(66, LogLevel.Error, "Rail '{Rail}' of multi-rail '{Name}' to a peer could not be tried because of an unexpected error. It is tried again, and an error of the same type is not logged again until the rail is up. The rail's pool and its context must stay open as long as the multi-rail.")]
    public static partial void RailNotTried(ILogger logger, Exception error, string name, string rail);

    [LoggerMessage(70, LogLevel.Information, "Opened provider '{Provider}' as rank {Rank} of {Size} ({Library}).")]
    public static partial void MpiOpened(ILogger logger, string provider, int rank, int size, string library);

    [LoggerMessage(71, LogLevel.Warning, "MPI's setting {Name}={Value} comes too late: MPI was already initialized in this process. Set it in the environment.")]
    public static partial void MpiSettingTooLate(ILogger logger, string name, string value);

    [LoggerMessage(72, LogLevel.Debug, "MPI's setting {Name} is set in the environment already; the option's value {Value} is not used.")]
    public static partial void MpiSettingKept(ILogger logger, string name, string value);

    [LoggerMessage(73, LogLevel.Error, "MPI is not finalized: {Why}. The process ends without it, and mpirun may end the other ranks.")]
    public static partial void MpiNotFinalized(ILogger logger, string why);

    [LoggerMessage(74, LogLevel.Error, "A call into MPI that belongs to no open endpoint failed; MPI is still used: {Error}")]
    public static partial void MpiFailedAside(ILogger logger, string error);

    [LoggerMessage(75, LogLevel.Warning, "{Implementation} is used, as the options say, although {Variable} is set, which the mpirun of {Other} does. If that mpirun started this process, each process is a job of its own.")]
    public static partial void MpiStarterDiffers(ILogger logger, string implementation, string variable, string other);

    /// <summary>A number of bytes, which is formatted by <see cref="InWords.Size"/>.</summary>
    internal readonly struct ByteCount(long bytes)
    {
        public static implicit operator ByteCount(long bytes) => new(bytes);

        public override string ToString() => InWords.Size(bytes);
    }
}
