using System.Globalization;
using AllocTools.Benchmarks.Pairs;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>One side of a comparison: an initiator and its target, which are two processes of the same program. They rest between runs.</summary>
internal sealed class EndpointWorkload : IWorkload
{
    /// <summary>The first argument by which this program becomes one of the processes.</summary>
    public const string Argument = "endpoint";

    private readonly ChildProcess _initiator;
    private readonly ChildProcess _target;

    private EndpointWorkload(string program, IEnumerable<string> first, LoopArguments arguments)
    {
        _initiator = new ChildProcess(program, [.. first, .. (arguments with { IsTarget = false }).ToArray()]);
        _target = new ChildProcess(program, [.. first, .. (arguments with { IsTarget = true }).ToArray()]);
        string line = _initiator.Hear();
        _initiator.Say(_target.Hear());
        _target.Say(line);
        // If both spun on the same processor, each would wait for the end of the other's time slice, for milliseconds.
        if (OperatingSystem.IsLinux())
        {
            if ((arguments with { IsTarget = true }).Polls)
                _target.Pin(1);
            if ((arguments with { IsTarget = false }).Polls)
                _initiator.Pin(0);
        }
    }

    /// <inheritdoc/>
    public long AllocatedBytes { get; private set; }

    /// <inheritdoc/>
    public double Tail { get; private set; }

    /// <summary>Creates a workload with this library.</summary>
    public static IWorkload Own(LoopArguments arguments) => new EndpointWorkload(Environment.ProcessPath!, [Argument], arguments);

    /// <summary>Creates a workload with libfabric or UCX itself: benchmarks/native.</summary>
    public static IWorkload InC(LoopArguments arguments)
    {
        string program = Path.Combine(AppContext.BaseDirectory, arguments.IsUcx ? "endpoint-ucx" : "endpoint");
        return File.Exists(program)
            ? new EndpointWorkload(program, [], arguments)
            : throw new FileNotFoundException("The loops in C are not built; eng/bench builds them.", program);
    }

    /// <inheritdoc/>
    public void Run(int operations) => Time(operations);

    /// <summary>Returns the initiator's own time, which excludes the conversation.</summary>
    public TimeSpan Time(int operations)
    {
        _target.Ask("go");
        string[] answer = _initiator.Ask(string.Create(CultureInfo.InvariantCulture, $"run {operations}")).Split(' ');
        _target.Ask("stop");
        AllocatedBytes += long.Parse(answer[1], CultureInfo.InvariantCulture);
        Tail = long.Parse(answer[2], CultureInfo.InvariantCulture);
        return TimeSpan.FromTicks(long.Parse(answer[0], CultureInfo.InvariantCulture) / TimeSpan.NanosecondsPerTick);
    }

    public void Dispose()
    {
        _initiator.Dispose();
        _target.Dispose();
    }
}
