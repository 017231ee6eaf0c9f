namespace AllocTools.Pooling;

/// <summary>
/// Gives small numbers to the threads that rent, so that a pool finds a thread's magazine by an index. A dead thread's
/// number goes to the next new thread, and with it the magazines of that number: nothing waits for a garbage
/// collection.
/// </summary>
/// <remarks>An integer in thread-local storage costs one load; a reference there costs three, one after the other.</remarks>
internal static class ThreadNumbers
{
    private static readonly Lock Gate = new();

    // Indexed by number. No thread has the number 0.
    private static Thread?[] s_threads = new Thread?[16];
    private static int s_count = 1;

    [ThreadStatic]
    private static int t_number;

    /// <summary>The current thread's number; 0 if it has none yet.</summary>
    public static int Current => t_number;

    /// <summary>Returns the current thread's number, which it gets now if it has none.</summary>
    public static int GetOrTake()
    {
        if (t_number == 0)
            t_number = Take();
        return t_number;
    }

    private static int Take()
    {
        lock (Gate)
        {
            int number = 1;
            while (number < s_count && s_threads[number]!.IsAlive)
                number++;
            if (number == s_threads.Length)
            {
                Thread?[] threads = s_threads;
                Array.Resize(ref threads, number * 2);
                s_threads = threads;
            }
            s_threads[number] = Thread.CurrentThread;
            s_count = Math.Max(s_count, number + 1);
            return number;
        }
    }
}
