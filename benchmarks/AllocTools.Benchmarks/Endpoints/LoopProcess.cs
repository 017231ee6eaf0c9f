using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>One process of a comparison, with this library. The program in C has the same conversation.</summary>
/// <remarks>
/// It prints its own line and reads the other side's. Then "run N" at the initiator is answered with nanoseconds and
/// bytes allocated; "go" and "stop" at the target with "going" and "stopped". It ends with its standard input.
/// </remarks>
internal sealed class LoopProcess(LoopArguments arguments)
{
    private bool _stop;

    public int Run()
    {
        using LoopEndpoint endpoint = new(arguments);
        Console.WriteLine(endpoint);
        if (Console.ReadLine() is not string other)
            return 1;
        endpoint.Connect(other);
        TaskLoops tasks = new(endpoint, arguments.Window);
        Action<int> loop = LoopOf(endpoint, tasks);
        TargetLoop target = new(endpoint, arguments.IsPingPong);
        while (Console.ReadLine() is string line)
        {
            if (arguments.IsTarget)
                RunTarget(target);
            else
                RunInitiator(loop, int.Parse(line.AsSpan("run ".Length), CultureInfo.InvariantCulture), arguments.IsAsync ? tasks : null);
        }
        return 0;
    }

    private Action<int> LoopOf(LoopEndpoint endpoint, TaskLoops tasks) => arguments.Kind switch
    {
        LoopKind.PingPong => new PingPongLoop(endpoint).Run,
        LoopKind.WriteAsync => operations => tasks.WriteAsync(operations).GetAwaiter().GetResult(),
        LoopKind.PingPongAsync => operations => tasks.PingPongAsync(operations).GetAwaiter().GetResult(),
        _ => new WindowLoop(endpoint, arguments.Kind == LoopKind.Write, arguments.Window).Run,
    };

    private void RunTarget(TargetLoop target)
    {
        Volatile.Write(ref _stop, false);
        Thread reader = new(() =>
        {
            Console.ReadLine();
            Volatile.Write(ref _stop, true);
        });
        reader.Start();
        Console.WriteLine("going");
        target.Run(ref _stop);
        reader.Join();
        Console.WriteLine("stopped");
    }

    private static void RunInitiator(Action<int> loop, int operations, TaskLoops? tasks)
    {
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        long started = Stopwatch.GetTimestamp();
        loop(operations);
        TimeSpan time = Stopwatch.GetElapsedTime(started);
        allocated = tasks?.AllocatedBytes ?? GC.GetTotalAllocatedBytes(precise: true) - allocated;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalNanoseconds} {allocated}"));
    }
}
