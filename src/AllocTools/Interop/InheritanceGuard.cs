namespace AllocTools.Interop;

/// <summary>Keeps child processes from inheriting the sockets of the transports' libraries.</summary>
/// <remarks>
/// libfabric 1.17, UCX 1.13, Open MPI 4.1 and MPICH 4.0 open their sockets without FD_CLOEXEC. A child that has them keeps a port taken after this
/// process has ended, and its connections open, so that peers do not notice the end. Nobody says which descriptors are
/// a library's, and it connects and accepts within any call, so this looks at all of the process: once something was
/// opened, and every <see cref="Period"/> while a context is open. .NET sets the flag on all that it opens itself; what was
/// there before the first context, such as sockets that the process was given to pass on, keeps what it has. A child that
/// is started between a connection and the next look inherits that connection.
/// A look costs a system call for each descriptor. So where the kernel says how many there are, and that is what it was,
/// it is left out, but for one in <see cref="MostLeftOut"/> + 1: something may have been closed as something else was opened.
/// Static because descriptors belong to the process.
/// </remarks>
internal static class InheritanceGuard
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    /// <summary>How many looks in a row are left out at the most.</summary>
    private const int MostLeftOut = 19;

    private static readonly Lock Gate = new();
    private static readonly HashSet<(int Descriptor, string Name)> Earlier = [];
    private static int _contexts;
    private static bool _hasLooked;
    private static bool _isLooking;
    private static ulong _count;
    private static int _leftOut;

    /// <summary>A context is about to be opened. <see cref="End"/> follows, also where that fails.</summary>
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

    /// <summary>A context was closed.</summary>
    public static void End()
    {
        lock (Gate)
            _contexts--;
    }

    /// <summary>A thread of its own: a timer's tick costs ten times as much, as the pool's thread spins after it.</summary>
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
            // What is opened from here on is counted by the next look.
            _count = count;
        }
        Look();
    }

    /// <summary>Something was opened.</summary>
    public static void Look()
    {
        lock (Gate)
        {
            List<(int Descriptor, string Name)> found = InheritableDescriptors.Find();
            // Their numbers may be others' by now.
            Earlier.IntersectWith(found);
            foreach ((int Descriptor, string Name) one in found)
            {
                if (!Earlier.Contains(one))
                    InheritableDescriptors.Close(one.Descriptor);
            }
        }
    }
}
