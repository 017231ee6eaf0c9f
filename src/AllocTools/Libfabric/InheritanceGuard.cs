using AllocTools.Interop;

namespace AllocTools.Libfabric;

/// <summary>Keeps child processes from inheriting libfabric's sockets.</summary>
/// <remarks>
/// libfabric 1.17 opens its sockets without FD_CLOEXEC. A child that has them keeps the port of a Service taken after this
/// process has ended, and its connections open, so that peers do not notice the end. Nobody says which descriptors are
/// libfabric's, and it connects and accepts within any call, so this looks at all of the process: once something was
/// opened, and every <see cref="Period"/> while a context is open. .NET sets the flag on all that it opens itself; what was
/// there before the first context, such as sockets that the process was given to pass on, keeps what it has. A child that
/// is started between a connection and the next look inherits that connection.
/// Static because descriptors belong to the process.
/// </remarks>
internal static class InheritanceGuard
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    private static readonly Lock Gate = new();
    private static readonly HashSet<(int Descriptor, string Name)> Earlier = [];
    private static Timer? _timer;
    private static int _contexts;
    private static bool _hasLooked;

    /// <summary>A context is about to be opened.</summary>
    public static void Begin()
    {
        lock (Gate)
        {
            if (!_hasLooked)
                Earlier.UnionWith(InheritableDescriptors.Find());
            _hasLooked = true;
            if (_contexts++ == 0)
                _timer = new Timer(static _ => Look(), null, Period, Period);
        }
    }

    /// <summary>A context was closed.</summary>
    public static void End()
    {
        lock (Gate)
        {
            if (--_contexts > 0)
                return;
            _timer?.Dispose();
            _timer = null;
        }
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
