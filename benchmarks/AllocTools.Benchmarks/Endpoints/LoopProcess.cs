namespace AllocTools.Benchmarks.Endpoints;

/// <summary>One process of a comparison, with this library. The program in C has the same conversation.</summary>
/// <remarks>
/// It prints its own line and reads the other side's. Then an <see cref="Initiator"/> runs its loop when it is asked to; a target
/// answers "go" and "stop" with "going" and "stopped". It ends with its standard input.
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
        if (!arguments.IsTarget)
            return Initiator.Run(LoopOf(endpoint, tasks), tasks.Latencies, arguments.IsAsync ? () => tasks.AllocatedBytes : null);
        if (arguments.Polls)
            PollAsTold(new TargetLoop(endpoint, arguments.IsPingPong));
        else
            AwaitAsTold(arguments.Kind switch
            {
                LoopKind.PingPongAsync => tasks.AnswerAsync(),
                LoopKind.NotifiedPingPong => tasks.AnswerNotificationsAsync(),
                _ => null,
            });
        return 0;
    }

    private Func<int, Task> LoopOf(LoopEndpoint endpoint, TaskLoops tasks) => arguments.Kind switch
    {
        LoopKind.PingPong => Polled(new PingPongLoop(endpoint).Run),
        LoopKind.WriteAsync => tasks.WriteAsync,
        LoopKind.PingPongAsync => tasks.PingPongAsync,
        LoopKind.NotifiedPingPong => tasks.NotifiedPingPongAsync,
        LoopKind.AwaitedWrite => tasks.AwaitedWriteAsync,
        LoopKind.WriteByTasks => tasks.WriteByTasksAsync,
        LoopKind.Batch => tasks.BatchAsync,
        _ => Polled(new WindowLoop(endpoint, arguments.Kind == LoopKind.Write, arguments.Window).Run),
    };

    private static Func<int, Task> Polled(Action<int> loop) => operations =>
    {
        loop(operations);
        return Task.CompletedTask;
    };

    /// <summary>Makes progress between "go" and "stop".</summary>
    private void PollAsTold(TargetLoop target)
    {
        while (Console.ReadLine() is not null)
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
    }

    /// <summary>Answers while the endpoint makes progress; it waits between runs, as in an application.</summary>
    private static void AwaitAsTold(Task? answering)
    {
        while (Console.ReadLine() is string line)
        {
            if (answering is { IsFaulted: true })
                answering.GetAwaiter().GetResult();
            Console.WriteLine(line == "go" ? "going" : "stopped");
        }
    }
}
