using BenchmarkDotNet.Running;

// dotnet run -c Release --project benchmarks/AllocTools.Benchmarks -- --filter '*'
BenchmarkSwitcher.FromAssembly(typeof(AllocTools.Benchmarks.RentAndReturn).Assembly).Run(args);
