using System.Reflection;
using System.Text;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>
/// A C program that is generated from the binding and compiled against the installed headers. It prints the headers' values for
/// everything that the binding declares. It also calls each function of the tables with the binding's argument types, so that a
/// wrong signature doesn't compile.
/// </summary>
internal static class NativeProgram
{
    private const string Headers = """
        #include <stdio.h>
        #include <stdint.h>
        #include <stddef.h>
        #include <sys/types.h>
        #include <sys/uio.h>
        #include <rdma/fabric.h>
        #include <rdma/fi_cm.h>
        #include <rdma/fi_domain.h>
        #include <rdma/fi_endpoint.h>
        #include <rdma/fi_eq.h>
        #include <rdma/fi_errno.h>
        #include <rdma/fi_rma.h>
        #include <rdma/fi_tagged.h>

        """;

    /// <summary>Constants that have a different name in C, or exist only as a macro.</summary>
    private static readonly Dictionary<string, string> Expressions = new()
    {
        [$"{nameof(FiVersion)}.{nameof(FiVersion.Api)}"] = "FI_VERSION(1, 14)",
    };

    public static string KeyOf(Type type) => type.Name;

    public static string KeyOf(FieldInfo field) => $"{field.DeclaringType!.Name}.{field.Name}";

    public static string KeyOf(Type type, string constant) => $"{type.Name}.{constant}";

    /// <summary>Compiles and runs the program.</summary>
    /// <returns>Numbers by key: sizes of structures; offset and size of fields; values of constants; the headers' version.</returns>
    public static Dictionary<string, long[]> Run() => NativeLayout.Run(Source(), "-lfabric");

    private static string Source()
    {
        StringBuilder calls = new();
        StringBuilder main = new("int main(void)\n{\n");
        main.Append("printf(\"headers %d %d\\n\", FI_MAJOR_VERSION, FI_MINOR_VERSION);\n");
        foreach (Type type in NativeBinding.Structs)
        {
            main.Append($"printf(\"{KeyOf(type)} %zu\\n\", sizeof(struct {type.Name}));\n");
            foreach (FieldInfo field in NativeBinding.FieldsOf(type))
            {
                main.Append($"printf(\"{KeyOf(field)} %zu %zu\\n\", offsetof(struct {type.Name}, {field.Name}), ");
                main.Append($"sizeof(((struct {type.Name} *)0)->{field.Name}));\n");
                if (field.FieldType.IsFunctionPointer)
                    AppendCall(calls, field, $"struct {type.Name} *table", $"table->{field.Name}");
            }
        }

        foreach (FieldInfo field in NativeBinding.FieldsOf(typeof(LibfabricExports)))
            AppendCall(calls, field, "void *unused", field.Name);
        foreach ((Type type, string name, _) in NativeBinding.Constants())
        {
            string key = KeyOf(type, name);
            main.Append($"printf(\"{key} %lld\\n\", (long long)({Expressions.GetValueOrDefault(key, name)}));\n");
        }

        return $"{Headers}{calls}{main}return 0;\n}}\n";
    }

    private static void AppendCall(StringBuilder calls, FieldInfo field, string first, string function)
    {
        Type[] types = field.FieldType.GetFunctionPointerParameterTypes();
        string parameters = string.Concat(types.Select((type, i) => $", {CType(type)} a{i}"));
        string call = $"{function}({string.Join(", ", types.Select((_, i) => $"a{i}"))})";
        Type result = field.FieldType.GetFunctionPointerReturnType();
        string check = result == typeof(void) ? ""
            : result == typeof(byte).MakePointerType() ? $"_Static_assert(_Generic({call}, char *: 1, const char *: 1, default: 0), \"{KeyOf(field)}\"); "
            : $"_Static_assert(_Generic({call}, {CType(result)}: 1, default: 0), \"{KeyOf(field)}\"); ";
        calls.Append($"void call_{field.DeclaringType!.Name}_{field.Name}({first}{parameters});\n");
        calls.Append($"void call_{field.DeclaringType!.Name}_{field.Name}({first}{parameters}) {{ {check}(void){call}; }}\n");
    }

    private static string CType(Type type)
    {
        if (type == typeof(byte).MakePointerType())
            return "void *"; // char * or uint8_t *, const or not
        if (type.IsPointer)
            return CType(type.GetElementType()!) + " *";
        if (type.IsEnum)
            return "enum " + type.Name;
        return type == typeof(void) ? "void"
            : type == typeof(int) ? "int"
            : type == typeof(uint) ? "uint32_t"
            : type == typeof(ulong) ? "uint64_t"
            : type == typeof(nint) ? "ssize_t"
            : type == typeof(nuint) ? "size_t"
            : "struct " + type.Name;
    }
}
