using AllocTools.Benchmarks;
using AllocTools.Benchmarks.Connections;
using AllocTools.Benchmarks.Endpoints;
using AllocTools.Benchmarks.Frameworks;
using AllocTools.Benchmarks.Pairs;
using BenchmarkDotNet.Running;

// eng/bench runs the comparisons by pairs; --fabric PROVIDER NODE runs only those of registrations on that fabric.
// --spin shows the cost of SpinTime, and --idle that of idle endpoints. With options of BenchmarkDotNet, such as
// --filter '*', its benchmarks run.
if (args is [EndpointWorkload.Argument, .. string[] loop])
{
    LoopArguments arguments = LoopArguments.Parse(loop);
    if (ConnectionProcess.IsFor(arguments))
        return await new ConnectionProcess(arguments).RunAsync();
    if (!SocketProcess.IsFor(arguments))
        return new LoopProcess(arguments).Run();
    using SocketProcess socket = new(arguments);
    return socket.Run();
}
if (args is [BusyProcessors.Argument])
    return BusyProcessors.Burn();
if (args is ["--fabric", string provider, string node])
    return Report.Print(new FabricRegistrations(provider, node));
if (args is [MpiRankLoop.Argument, string kind, string size, string count])
    return MpiRankLoop.Run(kind, size, count);
if (args is ["--mpi"] or ["--mpi", "--quick"] or ["--quick", "--mpi"])
    return MpiTimes.Print(isQuick: args.Length == 2);
if (args is [FrameworkServer.Argument, string socketPath])
    return await FrameworkServer.RunAsync(socketPath);
if (args is ["--frameworks"])
    return await FrameworkTimes.PrintAsync();
if (args is ["--spin"])
    return await SpinTimes.PrintAsync();
if (args is ["--idle", .. string[] idle])
    return await IdleTimes.PrintAsync(idle);
bool isQuick = args.Contains("--quick");
string only = args is [.., "--only", string text] ? text : "";
if (args.Length == (isQuick ? 1 : 0) + (only.Length == 0 ? 0 : 2))
    return Report.Print(isQuick, only);
BenchmarkSwitcher.FromAssembly(typeof(RentAndReturn).Assembly).Run(args);
return 0;
