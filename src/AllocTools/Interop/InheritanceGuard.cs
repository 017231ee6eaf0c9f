namespace AllocTools.Interop;

/// <summary>Keeps child processes from inheriting the sockets of the transports' libraries.</summary>
/// <remarks>
/// libfabric 1.17, UCX 1.13, Open MPI 4.1 and MPICH 4.0 open their sockets without FD_CLOEXEC. A child that inherits
/// them keeps a port in use after this process has ended, and keeps its connections open, so that peers do not notice
/// the end. It is not known which descriptors belong to a library, and a library connects and accepts within any call.
/// Therefore all descriptors of the process are checked once something was opened, and every <see cref="Period"/>
/// while a context is open. .NET sets the flag on all descriptors that it opens itself. Descriptors that existed
/// before the first context, such as sockets that the process was given to pass on, are left unchanged. A child that
/// is started between a connection and the next check inherits that connection.
/// <para>
/// A check costs a system call for each descriptor. If the kernel reports their number and it is unchanged, the check
/// is therefore skipped, except for one in <see cref="MostLeftOut"/> + 1: a descriptor may have been closed while
/// another was opened.
/// </para>
/// <para>The class is static because descriptors belong to the process.</para>
/// </remarks>
internal static class InheritanceGuard
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    /// <summary>The maximum number of consecutive checks that are skipped.</summary>
    private const int MostLeftOut = 19;

    private static readonly Lock Gate = new();
    private static readonly HashSet<(int Descriptor, string Name)> Earlier = [];
    private static int _contexts;
    private static bool _hasLooked;
    private static bool _isLooking;
    private static ulong _count;
    private static int _leftOut;

    /// <summary>Called when a context is about to be opened. <see cref="End"/> must follow, even if opening fails.</summary>
    public static void Begin()
    {
        lock (Gate)
        {
            if (!_hasLooked)
                Earlier.UnionWith(InheritableDescriptors.Find());
            _hasLooked = true;
            if (!_isLooking)
                new Thread(LookWhileOpen) { IsBackground = true, Name = "AllocTools inheritance" }.Start();
            _isLooking = true;
            _contexts++;
        }
    }

    /// <summary>Called when a context was closed.</summary>
    public static void End()
    {
        lock (Gate)
            _contexts--;
    }

    /// <summary>
    /// Checks periodically, on a separate thread: a timer's tick would cost ten times as much, because the pool's
    /// thread spins after it.
    /// </summary>
    private static void LookWhileOpen()
    {
        while (true)
        {
            Thread.Sleep(Period);
            lock (Gate)
            {
                _isLooking = _contexts > 0;
                if (!_isLooking)
                    return;
            }
            LookIfChanged();
        }
    }

    private static void LookIfChanged()
    {
        ulong count = InheritableDescriptors.Count();
        lock (Gate)
        {
            if (count != 0 && count == _count && _leftOut++ < MostLeftOut)
                return;
            _leftOut = 0;
            // Descriptors that are opened from here on are counted by the next check.
            _count = count;
        }
        Look();
    }

    /// <summary>Called when something was opened: protects all new descriptors.</summary>
    public static void Look()
    {
        lock (Gate)
        {
            List<(int Descriptor, string Name)> found = InheritableDescriptors.Find();
            // The numbers of earlier descriptors may have been reused.
            Earlier.IntersectWith(found);
            foreach ((int Descriptor, string Name) one in found)
            {
                if (!Earlier.Contains(one))
                    InheritableDescriptors.Close(one.Descriptor);
            }
        }
    }
}
