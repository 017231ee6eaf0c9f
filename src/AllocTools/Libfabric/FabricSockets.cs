using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Ends the TCP connections of an endpoint of tcp;ofi_rxm before it is closed.</summary>
/// <remarks>
/// libfabric 1.17 crashes with SIGSEGV if such an endpoint is closed while a write with a notification has arrived in
/// part: tcp reports that write as cancelled, without a context, and ofi_rxm reads the context. A connection that
/// breaks at that moment does no harm. Therefore the sockets are shut down, and progress is made until libfabric has
/// closed them. They are found by the queue's descriptor, which waits for them: see epoll(7), and fdinfo in proc(5).
/// Without a descriptor (<see cref="RmaProgress.Caller"/>) they can't be found.
/// </remarks>
internal static unsafe class FabricSockets
{
    private const int EventQueueDepth = 4;

    /// <summary>Many times the time that libfabric needs to detect that its connections have ended.</summary>
    private static readonly TimeSpan MostTime = TimeSpan.FromSeconds(1);

    /// <summary>Ends the connections. Operations that complete meanwhile are dropped, as closing would do.</summary>
    /// <param name="waitDescriptor">The descriptor of the queue; negative for none.</param>
    /// <param name="queue">The queue, which the caller keeps open.</param>
    /// <param name="abort">Whether the kernel drops what it has not sent yet, instead of sending it for minutes after the
    /// endpoint is closed: once a link that was cut is back, bytes of writes that have failed long ago would arrive.</param>
    public static void End(int waitDescriptor, CqHandle queue, bool abort)
    {
        if (waitDescriptor < 0 || !OperatingSystem.IsLinux())
            return;
        List<(int Descriptor, string Name)> sockets = [];
        Find(waitDescriptor, EventQueueDepth, sockets);
        // The remaining descriptors are libfabric's own signals, pairs of Unix sockets, and unconnected sockets.
        sockets.RemoveAll(s => !SocketDescriptors.TryShutDown(s.Descriptor, s.Name, abort));
        long start = Stopwatch.GetTimestamp();
        while (sockets.Exists(static s => SocketDescriptors.NameOf(s.Descriptor) == s.Name) && Stopwatch.GetElapsedTime(start) < MostTime)
        {
            Drain(queue);
            Thread.Sleep(1);
        }
    }

    private static void Find(int eventQueue, int depth, List<(int Descriptor, string Name)> sockets)
    {
        foreach (int descriptor in WaitedFor(eventQueue))
        {
            if (SocketDescriptors.NameOf(descriptor) is not { } name)
                continue;
            if (name == "anon_inode:[eventpoll]" && depth > 0)
                Find(descriptor, depth - 1, sockets);
            else if (name.StartsWith("socket:", StringComparison.Ordinal))
                sockets.Add((descriptor, name));
        }
    }

    private static int[] WaitedFor(int eventQueue)
    {
        try
        {
            return
            [
                .. File.ReadLines($"/proc/self/fdinfo/{eventQueue}").Where(static l => l.StartsWith("tfd:", StringComparison.Ordinal))
                    .Select(static l => int.Parse(l.AsSpan("tfd:".Length).Trim().ToString().Split(' ')[0], CultureInfo.InvariantCulture)),
            ];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static void Drain(CqHandle queue)
    {
        const int Batch = 64;
        fi_cq_tagged_entry* entries = stackalloc fi_cq_tagged_entry[Batch];
        nint read;
        do
        {
            read = queue.Read(entries, Batch);
            if (read == -FiErrno.FI_EAVAIL)
            {
                fi_cq_err_entry error = default;
                read = queue.ReadErr(&error, 0);
            }
        }
        while (read > 0);
    }
}
