printf 'number,customer,amount\n1,ann,10\n2,bob,5\n3,ann,oops\n' > shop.csv
lakehouse land shop.csv --prefix orders/
